"""Commands that are killed before a change of the file system, or that run out of disk."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.bed import commands, content_of, copied, is_whole, waste
from tests.faults.zygote import Zygote

Found = tuple[int, list[str]]
SIZES = (0, 1, 100, 1000, 4000, 10_000, 20_000, 50_000, 100_000)  # bytes of the largest file that can be written


def kills(zygote: Zygote, base: Path, folder: Path, tries: int, names: Sequence[str] = ()) -> Found:
    """Kills commands before changes of the file system, drawn from all changes of all, then runs what mends it."""
    wrong: list[str] = []
    points: list[tuple[str, int]] = []
    for name in names or commands(base):
        trial = copied(base, folder)
        whole = zygote.run(*commands(trial)[name].argv)
        if whole.code != 0:
            wrong.append(f"{name}: {whole.err}")
        points += [(name, change) for change in range(whole.changes)]
        shutil.rmtree(trial)
    chosen = random.Random(0).sample(points, min(tries, len(points)))  # noqa: S311 (kill points, not secrets)
    for name, change in sorted(chosen):
        wrong += [
            f"{name}, killed before change {change}: {one}" for one in _killed(zygote, base, folder, name, change)
        ]
    return len(chosen), wrong


def _killed(zygote: Zygote, base: Path, folder: Path, name: str, change: int) -> Iterator[str]:
    trial = copied(base, folder)
    command = commands(trial)[name]
    target = trial / command.makes
    before, kept = target.exists(), content_of(trial / command.keeps) if command.keeps else {}
    if not zygote.run(*command.argv, kill=change).killed:
        yield "was not killed"
    if command.keeps and content_of(trial / command.keeps) != kept:
        yield f"{command.keeps} is not what it was"
    if before and not target.exists():
        yield f"{command.makes} is lost"
    if "--resume" not in command.argv and (said := is_whole(target)):
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
    names = list(commands(base))
    for number in range(tries):
        name, size = names[number % len(names)], SIZES[number // len(names) % len(SIZES)]
        trial = copied(base, folder)
        command = commands(trial)[name]
        target = trial / command.makes
        before = target.exists()
        done = zygote.run(*command.argv, limit=size + number // (len(names) * len(SIZES)))
        if not done.clean:
            wrong.append(f"{name}, {size} bytes: {done.code} {done.err[-300:]}")
        if before and not target.exists():
            wrong.append(f"{name}, {size} bytes: {command.makes} is lost")
        if "--resume" not in command.argv and (said := is_whole(target)):
            wrong.append(f"{name}, {size} bytes: {said}")
        shutil.rmtree(trial)
    return tries, wrong
