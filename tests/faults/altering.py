"""Files of a run that are altered, and parts that are exchanged for those of another run."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.zygote import Zygote

Found = tuple[int, list[str]]
NO_ANSWERS = ("checkpoints/", "metrics.json", "predictions.parquet", "answers.parquet", "training.csv", "tensorboard/")


def _flipped(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[min(len(content) - 1, int(place * len(content)))] ^= 1 << int(place * 1e6) % 8
    path.write_bytes(bytes(content))


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


WAYS: dict[str, Callable[[Path], Any]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte less": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "more at the end": lambda path: path.write_bytes(path.read_bytes() + b"\0more"),
    "more in front": lambda path: path.write_bytes(b" " + path.read_bytes()),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(path.stat().st_size)),
    "removed": lambda path: path.unlink(),
    "a folder": _as_folder,
    "a pipe": _as_pipe,
    "a link to itself": _as_loop,
}


def altered(zygote: Zygote, base: Path, folder: Path, tries: int) -> Found:
    """Alters files of a run, or exchanges them for those of a run of another seed: it answers as before, or refuses.

    Each file in each of the ways above, and as the other run has it; each part whole; then bits at random places. What
    no answer is read from is looked at by `metatoken doctor`, which has to notice it unless it is a record of old.
    """
    run, rng = base / "run", random.Random(0)  # noqa: S311 (places, not secrets)
    files = sorted(one.relative_to(run).as_posix() for one in run.rglob("*") if one.is_file())
    parts = sorted(one.name for one in run.iterdir())
    changes: list[tuple[str, str, Callable[[Path], Any]]] = [
        (file, way, change) for way, change in WAYS.items() for file in files
    ]
    changes += [(one, "of another run", lambda path: _exchanged(path, base)) for one in {*files, *parts}]
    changes = sorted(changes, key=lambda one: one[:2])
    rng.shuffle(changes)
    while len(changes) < tries:
        place = rng.random()
        changes.append((files[len(changes) % len(files)], f"a bit at {place:.6f}", lambda path, at=place: _flipped(path, at)))
    users = ("--users", base / "users.txt", "-k", 5)
    sound, wrong = zygote.run("recommend", run, *users), []
    assert sound.code == 0, sound
    for file, way, change in changes[:tries]:
        copy = folder / "altered"
        shutil.copytree(run, copy)
        change(copy / file)
        answers = not file.startswith(NO_ANSWERS)
        done = zygote.run("recommend", copy, *users) if answers else zygote.run("doctor", copy)
        if not done.clean:
            wrong.append(f"{file}, {way}: {done.code} {done.err[-300:]}")
        elif answers and done.code == 0 and done.out != sound.out:
            wrong.append(f"{file}, {way}: silently other results")
        shutil.rmtree(copy)
    return tries, wrong


def _exchanged(path: Path, base: Path) -> None:
    other = base / "other" / path.relative_to(base.parent / "altered")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if other.is_dir():
        shutil.copytree(other, path)
    elif other.exists():
        shutil.copyfile(other, path)
