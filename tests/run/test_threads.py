"""How many threads a run takes: what the user says, else what the process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from metatoken.run import threads, train_run
from metatoken.run.config import load_config
from tests.files import write_run_config

CGROUPS = {
    "none": ({}, 8),
    "version 2, no limit": ({"cpu.max": "max 100000\n"}, 8),
    "version 2": ({"cpu.max": "250000 100000\n"}, 3),
    "version 2, less than one core": ({"cpu.max": "50000 100000\n"}, 1),
    "version 2, more than there are": ({"cpu.max": "6400000 100000\n"}, 8),
    "version 1": ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
    "version 1, no limit": ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    "of another form": ({"cpu.max": "plenty\n"}, 8),
}


@pytest.mark.parametrize("case", CGROUPS)
def test_no_more_than_the_container_pays_for(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, expected = CGROUPS[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads.default_threads() == threads.available_cores() == expected


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("2,1", 2), ("0", None), ("many", None), ("", None)])
def test_the_variable_of_openmp_counts(asked: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads.default_threads() == (expected or threads.available_cores())


def test_a_run_takes_what_it_is_given_or_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yaml, before, seen = write_run_config(tmp_path), torch.get_num_threads(), []
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        for override in ("threads=1", "threads=null"):
            config = load_config(yaml, [override])
            train_run(config, tmp_path / override, say=lambda _: seen.append(torch.get_num_threads()))
            assert torch.get_num_threads() == seen[-1]
            assert seen[-1] == (1 if override == "threads=1" else 2)
    finally:
        torch.set_num_threads(before)
