"""Files of a run that are altered, and parts that are exchanged for those of another run."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.judging import Call, Found, in_processes, make_calls

if TYPE_CHECKING:
    from tests.faults.zygote import Zygote

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
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(path.stat().st_size)),  # noqa: S311
    "removed": lambda path: path.unlink(),
    "a folder": _as_folder,
    "a pipe": _as_pipe,
    "a link to itself": _as_loop,
}


def altered(zygote: Zygote, base: Path, folder: Path, tries: int) -> Found:
    """Alters files of a run, or exchanges them for those of a run of another seed: it answers as before, or refuses."""
    return in_processes("tests.faults.altering", base, folder, tries)


def alterations(base: Path, tries: int) -> list[Call]:
    """What is done to a run: each file in each of the ways, and as another run has it; each part whole; then bits.

    What no answer is read from is looked at as `metatoken doctor` does.
    """
    run, rng = base / "run", random.Random(0)  # noqa: S311 (places, not secrets)
    files = sorted(one.relative_to(run).as_posix() for one in run.rglob("*") if one.is_file())
    changes = [(file, way, change) for way, change in WAYS.items() for file in files]
    parts = {*files, *(one.name for one in run.iterdir())}
    changes += [(one, "of another run", partial(_exchanged, base=base)) for one in sorted(parts)]
    rng.shuffle(changes)
    while len(changes) < tries:
        place = rng.random()
        file = files[len(changes) % len(files)]
        changes.append((file, f"a bit at {place:.6f}", partial(_flipped, place=place)))
    sound = answers(run, base)
    return [(f"{file}, {way}", partial(_try, base, file, change, sound)) for file, way, change in changes]


def answers(run: Path, base: Path) -> object:
    """What a run recommends to everybody."""
    from metatoken.recommend import Recommender

    users = (base / "users.txt").read_text().split()
    return Recommender.load(run).recommend_many(users, k=5)


def _try(base: Path, file: str, change: Callable[[Path], Any], sound: object) -> None:
    from metatoken.run import RunFolder
    from metatoken.run.manifest import check_bytes

    copy = base.parent / "altered"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(base / "run", copy)
    change(copy / file)
    if file.startswith(NO_ANSWERS):
        check_bytes(RunFolder(copy))
    elif answers(copy, base) != sound:
        raise AssertionError("silently other results")


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


if __name__ == "__main__":
    make_calls(alterations(Path(sys.argv[1]), int(sys.argv[2])), int(sys.argv[2]), int(sys.argv[3]))
