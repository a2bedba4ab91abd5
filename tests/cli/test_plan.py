from __future__ import annotations

import json

from metatoken.run.plan import plan
from tests.cli.conftest import Refuse, Run

SIZE = ("--users", "1e6", "--items", "3e5", "--interactions", "3e7")


def test_a_table_and_the_same_as_json(run: Run) -> None:
    machine = ("--cores", 4, "--memory", 16)
    result = run("plan", *SIZE, *machine)
    assert result.code == 0, result.err
    for word in ("read", "tokenize", "train", "evaluate", "recommend", "hours on 4 cores", "breaks first in 16 GB"):
        assert word in result.out
    assert "model.item_softmax: sampled" in result.out
    expected = plan(10**6, 3 * 10**5, 3 * 10**7, cores=4, bytes_=16 * 10**9).to_dict()
    assert json.loads(run("plan", *SIZE, *machine, "--json").out) == json.loads(json.dumps(expected))


def test_what_cannot_be_planned(refuse: Refuse) -> None:
    assert "interactions" in refuse("plan", "--users", 100, "--items", 10, "--interactions", 50)
    assert "--cores" in refuse("plan", *SIZE, "--cores", 0)
    for memory in ("nan", "inf", "0", "1e300"):
        assert "--memory: expected 0.1 to 100,000 GB" in refuse("plan", *SIZE, "--memory", memory)
