"""A few of every attack; `make faults` runs hundreds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.altering import altered
from tests.faults.bed import make_base
from tests.faults.calls import wrong_calls
from tests.faults.kills import full_disks, kills
from tests.faults.resealed import resealed
from tests.faults.server import server
from tests.faults.zygote import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as one:
        yield one


@pytest.fixture(scope="module")
def base(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(zygote, tmp_path_factory.mktemp("campaign"))


def check(found: tuple[int, list[str]], least: int) -> None:
    tries, wrong = found
    assert not wrong, "\n".join(wrong)
    assert tries >= least


def test_a_command_that_is_killed(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    names = ["train --overwrite, then --resume", "train --resume", "evaluate --export", "tokenize --overwrite"]
    check(kills(zygote, base, tmp_path, 12, names), 12)


def test_an_extension_that_is_killed(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(kills(zygote, base, tmp_path, 4, ["extend", "extend --epochs"]), 4)


def test_a_job_of_shards_that_is_killed(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(kills(zygote, base, tmp_path, 4, ["assign", "recommend --shard-users"]), 4)


def test_altered_files(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(altered(zygote, base, tmp_path, 25), 25)


def test_hostile_content_behind_right_checksums(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(resealed(zygote, base, tmp_path, 60), 60)


def test_full_disks(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(full_disks(zygote, base, tmp_path, 16), 16)


def test_wrong_calls(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(wrong_calls(zygote, base, tmp_path, 60), 60)


def test_a_server_among_hostile_clients(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(server(zygote, base, tmp_path, 2), 1)
