"""A few of every attack; `make faults` runs hundreds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import campaign
from tests.faults.zygote import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as one:
        yield one


@pytest.fixture(scope="module")
def base(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return campaign.make_base(zygote, tmp_path_factory.mktemp("campaign"))


def check(found: campaign.Found, least: int) -> None:
    tries, wrong = found
    assert not wrong, "\n".join(wrong)
    assert tries >= least


@pytest.mark.parametrize("name", ["train --overwrite, then --resume", "train --resume", "evaluate --export"])
def test_a_command_that_is_killed(name: str, zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(campaign.kills(zygote, base, tmp_path, 4, [name]), 4)


def test_altered_files(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(campaign.altered(zygote, base, tmp_path, 15), 15)


def test_full_disks(zygote: Zygote, base: Path, tmp_path: Path) -> None:
    check(campaign.full_disks(zygote, base, tmp_path, 10), 10)


def test_wrong_calls(base: Path) -> None:
    check(campaign.wrong_calls(2000, base / "config.yaml"), 2000)
