"""Estimates rest on what was measured, grow with every number, and say what ends a stage."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from metatoken.errors import ArgumentError
from metatoken.run.plan import BYTES, EDGES, SECONDS, Size, _cost, costs, plan

BIG = {"users": 10**6, "items": 3 * 10**5, "interactions": 3 * 10**7}


@pytest.mark.parametrize("stage", SECONDS)
def test_costs_are_those_of_the_measured_lines(stage: str) -> None:
    about = costs()["stages"][stage]
    lines = [line for line in costs()["measured"]["lines"] if line["stage"] == stage]
    assert len(lines) >= 4
    for kind, name, drivers in (("seconds", "seconds", SECONDS), ("bytes", "peak", BYTES)):
        assert set(about[kind]["rates"]) == set(drivers[stage])
        assert min(about[kind]["fixed"], *about[kind]["rates"].values()) >= 0
        for line in lines:
            size = Size(**{one.name: line[one.name] for one in fields(Size)})
            assert _cost(kind, stage, size) == pytest.approx(line[name], rel=about[kind]["worst"] + 1e-3)


@pytest.mark.parametrize("name", [one.name for one in fields(Size)])
def test_more_of_anything_never_costs_less(name: str) -> None:
    size = Size(**BIG, scored=20_000, asked=10**6)
    more = replace(size, **{name: 3 * getattr(size, name)})
    for stage in SECONDS:
        for kind in ("seconds", "bytes"):
            if (name, kind) != ("users", "seconds"):  # of equally many rows, more users have fewer targets
                assert _cost(kind, stage, more) >= _cost(kind, stage, size)


def test_a_stage_breaks_where_it_says() -> None:
    found = plan(**BIG, cores=2, bytes_=16 * 10**9)
    for one in found.stages:
        assert one.fits == (one.breaks_at >= 1)
        assert one.hours == pytest.approx(one.seconds / 7200)
        if one.why == "memory":
            least, most = (
                plan(*(round(value * factor * one.breaks_at) for value in BIG.values()), bytes_=1).size
                for factor in (0.98, 1.02)
            )
            assert _cost("bytes", one.stage, least) <= found.memory <= _cost("bytes", one.stage, most)
    assert found.first == min(found.stages, key=lambda one: one.breaks_at).stage
    assert not any(one.fits for one in plan(**BIG, cores=2, bytes_=10**8).stages)


def test_a_small_log_breaks_where_the_plan_of_the_larger_one_says_so() -> None:
    small, room = (2000, 400, 40_000), 25 * 10**9
    found = {one.stage: one.breaks_at for one in plan(*small, bytes_=room).stages}["evaluate"]
    for factor, fits in ((0.98, True), (1.02, False)):
        larger = plan(*(round(value * factor * found) for value in small), bytes_=room)
        assert larger.settings["evaluate.users"] == 20_000
        assert {one.stage: one.fits for one in larger.stages}["evaluate"] is fits


def test_limits_of_numbers_end_a_stage_that_has_memory() -> None:
    found = {one.stage: one for one in plan(**BIG, cores=2, bytes_=10**18).stages}
    assert found["tokenize"].why == "edges of the graph"
    assert found["tokenize"].breaks_at == pytest.approx(EDGES / BIG["interactions"])
    assert found["train"].why == "ids of 32 bits"


def test_settings_are_those_of_the_size() -> None:
    big, small = plan(**BIG).settings, plan(500, 300, 6000).settings
    assert big["tokens.levels"] == [1024, 2048]
    assert big["tokens.sample"] == 256 * 2048
    assert (big["model.item_softmax"], big["evaluate.users"], big["trainer.batch_size"]) == ("sampled", 20_000, 256)
    assert (small["model.item_softmax"], small["trainer.validation_users"]) == ("full", 500)
    assert big["model.item_updates"] == "rows"
    assert {"tokens.sample", "evaluate.users", "model.item_updates"}.isdisjoint(small)


def test_a_sampled_softmax_takes_out_the_items() -> None:
    size = Size(**BIG, scored=1, asked=1)
    assert size.logits < size.targets * 20_000
    assert replace(size, items=99_999).logits == size.targets * 99_999


def test_a_step_updates_the_rows_that_it_has() -> None:
    size = Size(**BIG, scored=1, asked=1)
    assert size.updated < size.steps * size.items * 64 / 3
    assert replace(size, items=10**7).updated == pytest.approx(size.updated, rel=0.01)
    assert replace(size, items=99_999).updated == size.steps * 99_999 * 64


def test_a_machine_that_does_not_tell_its_memory_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatoken.run.plan.memory", lambda: 0)
    with pytest.raises(ArgumentError, match=r"does not tell its memory; give it .*--memory"):
        plan(**BIG)
    assert plan(**BIG, bytes_=10**10).memory == 10**10


@pytest.mark.parametrize(
    ("sizes", "argument"),
    [((0, 10, 10), "users"), ((10, 1, 30), "items"), ((10, 10, 9), "interactions")],
)
def test_numbers_out_of_range(sizes: tuple[int, int, int], argument: str) -> None:
    with pytest.raises(ArgumentError) as error:
        plan(*sizes)
    assert error.value.argument == argument
