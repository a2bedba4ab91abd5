"""Attacks on every command, counted: `python -m tests.faults.campaign` (`make faults`); pytest runs a few of each.

Each attack gives the number of tries and a list of what went wrong; nothing may.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.faults.zygote import Zygote
from tests.files import write_run_config

Found = tuple[int, list[str]]
WASTE = (".metatoken-*", ".*.training")
COLUMNS = ("--user", "user_id", "--item", "item_id", "--time", "timestamp")
SMALL = ("--dim", 8, "--levels", "4,8", "--walks-per-node", 2, "--walk-length", 8)


@dataclass(frozen=True)
class Command:
    """A command under attack.

    Attributes:
        argv: It, in a folder `base` with a configuration, a world, a run, a vocabulary, an export.
        makes: What it writes, below the folder.
        again: What mends it after a kill, by default itself.
    """

    argv: tuple[object, ...]
    makes: str
    again: tuple[object, ...] = ()


def commands(base: Path) -> dict[str, Command]:
    """The commands that write, in a folder."""
    config, run, log = base / "config.yaml", base / "run", base / "world" / "interactions.csv"
    train, tokenize = ("train", config, "-o"), ("tokenize", log, *COLUMNS, *SMALL, "-o")
    two = ("--set", "trainer.max_epochs=2")
    return {
        "train": Command((*train, base / "new"), "new", (*train, base / "new", "--overwrite")),
        "train --overwrite": Command((*train, run, "--overwrite"), "run", (*train, run, "--overwrite")),
        "train --overwrite, then --resume": Command((*train, run, "--overwrite"), "run", (*train, run, "--resume")),
        "train --resume": Command((*train, run, "--resume", *two), "run", (*train, run, "--resume", *two)),
        "tokenize": Command((*tokenize, base / "fresh"), "fresh"),
        "tokenize --overwrite": Command((*tokenize, base / "vocabulary", "--overwrite"), "vocabulary"),
        "export": Command(("export", run, base / "exported", "--overwrite"), "exported"),
        "evaluate --export": Command(("evaluate", run, "--no-unseen", "--export", base / "plain"), "plain"),
        "baseline": Command(("baseline", run, "item_knn"), "run"),
        "recommend": Command(("recommend", run, "--users", base / "users.txt", "-o", base / "out.csv"), "out.csv"),
    }


def make_base(zygote: Zygote, folder: Path) -> Path:
    """A folder with everything that the commands need."""
    from metatoken.run.config import load_config

    base = folder / "base"
    base.mkdir()
    config = write_run_config(base, n_users=60, n_items=40)
    log = load_config(config).data.path
    lines = log.read_text().splitlines()[1:]
    (base / "users.txt").write_text("\n".join(sorted({line.split(",")[0] for line in lines})) + "\n")
    tokenize = ("tokenize", log, *COLUMNS, *SMALL, "-o", base / "vocabulary")
    made = [("train", config, "-o", base / "run"), tokenize, ("export", base / "run", base / "exported")]
    made += [("evaluate", base / "run", "--no-unseen", "--export", base / "plain")]
    for argv in made:
        done = zygote.run(*argv)
        assert done.code == 0, done
    return base


def copied(base: Path, folder: Path) -> Path:
    """A copy of the base, whose configuration names the copied log."""
    place = folder / f"copy-{random.getrandbits(48):012x}"
    shutil.copytree(base, place, symlinks=True)
    config = place / "config.yaml"
    config.write_text(config.read_text().replace(str(base), str(place)))
    return place


def is_whole(path: Path) -> str | None:
    """What is wrong with what stands at a path; None where it is whole, absent, or a run that says it is unfinished."""
    from metatoken.artifacts import read_manifest
    from metatoken.artifacts.manifest import MANIFEST, read_header
    from metatoken.errors import MetatokenError
    from metatoken.run import RunFolder
    from metatoken.run.manifest import check_bytes, is_begun

    try:
        if (path / "config.yaml").exists():
            return None if is_begun(RunFolder(path)) else (check_bytes(RunFolder(path)) and None)
        if (path / MANIFEST).exists():
            header = read_header(path)
            read_manifest(path, header["kind"], header["schema"])
        elif path.is_dir() and not (path / "truth.tsv").exists():
            return f"{path.name} is half-written"
        elif path.is_file() and not path.read_text().endswith("\n"):
            return f"{path.name} is cut"
    except MetatokenError as error:
        return str(error)
    return None


def waste(place: Path) -> list[str]:
    """Temporary folders that are left."""
    return [str(one) for pattern in WASTE for one in place.rglob(pattern)]


def kills(zygote: Zygote, base: Path, folder: Path, tries: int, names: list[str] | None = None) -> Found:
    """Kills commands before changes of the file system, then runs what mends it."""
    wrong: list[str] = []
    chosen = names or list(commands(base))
    done = 0
    for place_in_list, name in enumerate(chosen):
        trial = copied(base, folder)
        whole = zygote.run(*commands(trial)[name].argv)
        if whole.code != 0:
            wrong.append(f"{name}: {whole.err}")
        share = tries // len(chosen) + (place_in_list < tries % len(chosen))
        rng = random.Random(name)  # noqa: S311 (kill points, not secrets)
        for kill in sorted(rng.sample(range(whole.changes), min(share, whole.changes))):
            done += 1
            wrong += [
                f"{name}, killed before change {kill}: {one}" for one in _killed(zygote, base, folder, name, kill)
            ]
        shutil.rmtree(trial)
    return done, wrong


def _killed(zygote: Zygote, base: Path, folder: Path, name: str, kill: int) -> Iterator[str]:
    trial = copied(base, folder)
    command = commands(trial)[name]
    target = trial / command.makes
    before = target.exists()
    if not zygote.run(*command.argv, kill=kill).killed:
        yield "was not killed"
    if before and not target.exists():
        yield f"{command.makes} is lost"
    if before and "--resume" not in command.argv and (said := is_whole(target)):
        yield said
    mended = zygote.run(*(command.again or command.argv))
    if mended.code != 0 and command.again:  # resumed before there was anything to go on with
        mended = zygote.run(*command.argv)
    if mended.code != 0:
        yield f"dead end: {mended.err}"
    elif said := is_whole(target):
        yield said
    yield from (f"left {one}" for one in waste(trial))
    shutil.rmtree(trial)


def full_disks(zygote: Zygote, base: Path, folder: Path, tries: int) -> Found:
    """Runs commands that may write files of a few sizes only."""
    wrong: list[str] = []
    sizes = [0, 1, 100, 1000, 4000, 10_000, 20_000, 50_000, 100_000]
    names = list(commands(base))
    for number in range(tries):
        name, size = names[number % len(names)], sizes[number // len(names) % len(sizes)]
        trial = copied(base, folder)
        command = commands(trial)[name]
        before = (trial / command.makes).exists()
        done = zygote.run(*command.argv, limit=size)
        if not done.clean:
            wrong.append(f"{name}, {size} bytes: {done.code} {done.err[-300:]}")
        if before and "--resume" not in command.argv and (said := is_whole(trial / command.makes)):
            wrong.append(f"{name}, {size} bytes: {said}")
        shutil.rmtree(trial)
    return tries, wrong


def _flipped(content: bytes, place: float) -> bytes:
    at = min(len(content) - 1, int(place * len(content)))
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WAYS: dict[str, Callable[[Path], Any]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit in front": lambda path: path.write_bytes(_flipped(path.read_bytes(), 0.02)),
    "a bit in the middle": lambda path: path.write_bytes(_flipped(path.read_bytes(), 0.5)),
    "a bit at the end": lambda path: path.write_bytes(_flipped(path.read_bytes(), 0.99)),
    "more at the end": lambda path: path.write_bytes(path.read_bytes() + b"\0more"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "removed": lambda path: path.unlink(),
    "a folder": _as_folder,
    "a pipe": _as_pipe,
}


def altered(zygote: Zygote, base: Path, folder: Path, tries: int) -> Found:
    """Alters files of a run, each in ten ways: it answers as before, or refuses in one line."""
    asked = ("recommend", "RUN", "--users", base / "users.txt", "-k", 5)
    files = sorted(one.relative_to(base / "run") for one in (base / "run").rglob("*") if one.is_file())
    wrong: list[str] = []

    def ask(run: Path) -> Any:
        return zygote.run(*[run if one == "RUN" else one for one in asked])

    sound = ask(base / "run")
    pairs = [(file, way) for way in WAYS for file in files]
    for file, way in random.Random(0).sample(pairs, min(tries, len(pairs))):  # noqa: S311
        run = folder / "altered"
        shutil.copytree(base / "run", run)
        WAYS[way](run / file)
        done = ask(run)
        if not done.clean:
            wrong.append(f"{file}, {way}: {done.code} {done.err[-300:]}")
        elif done.code == 0 and done.out != sound.out:
            wrong.append(f"{file}, {way}: silently other results")
        shutil.rmtree(run)
    return min(tries, len(pairs)), wrong


HOSTILE = (
    0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, -(2**70), 0.0, -0.5, 1e20, 1e-320, math.nan, math.inf, -math.inf,
    True, None, "", " ", "x", "1e999", "nan", "9" * 5000, "\0", "a\nb", "..", "/", [], [[]], {}, {"a": {}}, [1, "x"],
    ["sequential", "sequential"], (2**62,), b"bytes", object(), "[" * 1000,
)  # fmt: skip


def wrong_calls(tries: int, config: Path) -> Found:
    """Gives hostile values to every setting, from Python and by `--set`."""
    from metatoken.errors import MetatokenError
    from metatoken.run.config import load_config

    calls: list[tuple[str, Callable[[], object]]] = []
    for kind in setting_classes():
        for one in fields(kind):
            for value in HOSTILE:
                label = f"{kind.__name__}({one.name}={repr(value)[:40]})"
                calls.append((label, lambda kind=kind, name=one.name, value=value: kind.of(None, {name: value})))  # type: ignore[misc]
    for key in sorted(flat_keys(config)):
        for value in HOSTILE:
            text = f"{key}={value}"
            calls.append((text[:80], lambda text=text: load_config(config, [text])))  # type: ignore[misc]
    random.Random(0).shuffle(calls)  # noqa: S311
    wrong = []
    for label, call in calls[:tries]:
        try:
            call()
        except (MetatokenError, TypeError) as error:
            if len(str(error)) > 20_000:
                wrong.append(f"{label}: a message of {len(str(error))} characters")
        except BaseException as error:  # noqa: BLE001 (that is what is looked for)
            wrong.append(f"{label}: {type(error).__name__}: {error}")
    return min(tries, len(calls)), wrong


def setting_classes() -> list[Any]:
    """Every class of settings that has a default for each of its fields."""
    from metatoken.baselines.settings import EASESettings, ItemKNNSettings, SASRecSettings
    from metatoken.decode.settings import TextOptions
    from metatoken.evaluate.settings import EvaluateSettings
    from metatoken.model.backbone.presets import PresetSize
    from metatoken.model.settings import ModelSettings, Weights
    from metatoken.run.settings import TrainerSettings
    from metatoken.tokens.settings import TokenSettings

    return [
        EASESettings, ItemKNNSettings, SASRecSettings, TextOptions, EvaluateSettings, PresetSize, ModelSettings,
        Weights, TrainerSettings, TokenSettings,
    ]  # fmt: skip


def flat_keys(config: Path) -> list[str]:
    """Every key of a configuration."""
    from metatoken.run.config import flat, load_config

    return list(flat(load_config(config)))


def main(kill: int = 500, alter: int = 1500, fill: int = 200, call: int = 2000) -> int:
    """Runs every attack and prints the counts; 1 if anything went wrong."""
    failed = 0
    with tempfile.TemporaryDirectory() as name, Zygote() as zygote:
        folder = Path(name)
        base = make_base(zygote, folder)
        attacks: dict[str, Callable[[], Found]] = {
            "kills": lambda: kills(zygote, base, folder, kill),
            "altered files": lambda: altered(zygote, base, folder, alter),
            "full disks": lambda: full_disks(zygote, base, folder, fill),
            "wrong calls": lambda: wrong_calls(call, base / "config.yaml"),
        }
        for attack, run in attacks.items():
            tries, wrong = run()
            failed += len(wrong)
            print(f"{attack}: {tries} tries, {len(wrong)} went wrong", flush=True)
            print("".join(f"  {one}\n" for one in wrong), end="", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
