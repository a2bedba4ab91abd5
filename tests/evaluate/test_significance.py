"""The paired bootstrap against loops that resample one user after the other, and against every resample there is."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from metatoken.errors import ArgumentError
from metatoken.evaluate import significance
from metatoken.evaluate.metrics import VERSUS
from metatoken.evaluate.ranking import ranking_metrics, ranks, user_metrics
from metatoken.evaluate.significance import (
    Difference,
    paired_bootstrap,
    resampled_means,
    set_against_best_baseline,
)
from tests.oracles import evaluate as oracle


def gains(seed: int, users: int, share: float) -> np.ndarray:
    """NDCG@10 of users of whom some hit."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(users) < share, 1 / np.log2(rng.integers(2, 12, users)), 0.0)


@pytest.mark.parametrize(("users", "block"), [(1, 1 << 20), (7, 1 << 20), (40, 100), (40, 3)])
def test_the_same_draws_as_a_loop_give_the_same_means(users: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "BLOCK", block)
    values = np.stack([gains(n, users, 0.4) for n in range(3)], axis=1)
    found = resampled_means(values, 50, seed=5)
    rng = np.random.default_rng(5)
    for row in found:
        drawn = rng.integers(users, size=users)
        np.testing.assert_allclose(row, [sum(values[u, c] for u in drawn) / users for c in range(3)], atol=1e-12)


@pytest.mark.parametrize(("share", "other"), [(0.30, 0.30), (0.35, 0.30), (0.30, 0.38)])
def test_a_naive_bootstrap_finds_the_same(share: float, other: float) -> None:
    """Of other draws, so only up to their chance, which is known."""
    ours, theirs = gains(1, 100, share), gains(2, 100, other)
    found = paired_bootstrap(ours, theirs)
    naive = oracle.bootstrap(ours.tolist(), theirs.tolist(), 2000, random.Random(0).randrange)  # noqa: S311
    p = oracle.two_sided(naive)
    assert found.difference == pytest.approx(ours.mean() - theirs.mean(), abs=1e-12)
    assert abs(found.p - p) < 4 * np.sqrt(2 * p * (1 - p / 2) / 2000) + 1e-3
    spread = (found.high - found.low) / 3.92
    assert found.low == pytest.approx(naive[50], abs=0.25 * spread)
    assert found.high == pytest.approx(naive[-51], abs=0.25 * spread)


def test_every_resample_there_is() -> None:
    """Of four users there are 256: what is drawn must come as often as it should."""
    ours, theirs = np.array([1.0, 0.0, 0.5, 0.0]), np.array([0.0, 0.0, 0.6, 0.3])
    every = [np.mean([ours[u] - theirs[u] for u in rows]) for rows in itertools.product(range(4), repeat=4)]
    below = np.mean([d <= 1e-12 for d in every])
    above = np.mean([d >= -1e-12 for d in every])
    found = paired_bootstrap(ours, theirs, 100_000)
    assert found.p == pytest.approx(2 * min(below, above), abs=0.01)
    low, high = np.quantile(every, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_many_users_agree_with_a_paired_t_test() -> None:
    ours, theirs = gains(1, 3000, 0.32), gains(2, 3000, 0.30)
    t = stats.ttest_rel(ours, theirs)
    found = paired_bootstrap(ours, theirs)
    assert 0.001 < t.pvalue < 0.9
    assert found.p == pytest.approx(float(t.pvalue), abs=0.03)
    interval = t.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.002)


def test_it_is_paired() -> None:
    """A small gain of every user is certain, though users differ far more than that."""
    theirs = gains(1, 200, 0.3)
    assert paired_bootstrap(theirs + 0.001, theirs).p == pytest.approx(2 / 10_001)
    unpaired = np.random.default_rng(0).permutation(theirs) + 0.001
    assert paired_bootstrap(unpaired, theirs).p > 0.05


def test_nothing_differs_from_itself() -> None:
    ours = gains(1, 50, 0.3)
    assert paired_bootstrap(ours, ours) == Difference(0.0, 0.0, 0.0, 1.0)
    assert paired_bootstrap(np.zeros(5), np.zeros(5)).p == 1


def test_one_seed_one_result() -> None:
    ours, theirs = gains(1, 60, 0.3), gains(2, 60, 0.3)
    assert paired_bootstrap(ours, theirs) == paired_bootstrap(ours, theirs)
    assert paired_bootstrap(ours, theirs, seed=1) != paired_bootstrap(ours, theirs)


def test_the_other_way_round_it_is_the_same() -> None:
    ours, theirs = gains(1, 60, 0.4), gains(2, 60, 0.3)
    one, other = paired_bootstrap(ours, theirs), paired_bootstrap(theirs, ours)
    assert other.p == one.p
    assert (other.difference, other.low, other.high) == pytest.approx((-one.difference, -one.high, -one.low))


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ArgumentError, match=r"theirs: expected the same users as ours, \[3\]; got \[2\]"):
        paired_bootstrap(np.zeros(3), np.zeros(2))
    with pytest.raises(ArgumentError, match="at least one user"):
        paired_bootstrap(np.zeros(0), np.zeros(0))
    with pytest.raises(ArgumentError, match="resamples"):
        resampled_means(np.zeros((3, 1)), 0)


def test_metrics_of_users_have_the_means_of_the_table() -> None:
    rng = np.random.default_rng(0)
    lists = np.stack([rng.permutation(15)[:10] for _ in range(200)]).astype(np.int32)
    lists[::9, 4:] = -1
    targets = rng.integers(0, 15, 200).astype(np.int32)
    found, table = user_metrics(ranks(lists, targets)), ranking_metrics(lists, targets, 15)
    assert set(table) - set(found) == {"coverage@10", "invalid@10"}
    for name, values in found.items():
        assert values.shape == (200,)
        assert values.mean() == pytest.approx(table[name], abs=1e-12)


def row(model: str, template: str, values: np.ndarray, task: str = "sequential") -> dict[str, Any]:
    return {"task": task, "template": template, "model": model, "ndcg@10": float(values.mean())}


def test_rows_are_set_against_the_best_baseline_of_their_task() -> None:
    columns = [gains(n, 300, share) for n, share in enumerate((0.4, 0.1, 0.3, 0.4, 0.2))]
    rows = [
        row("fused", "seq-1", columns[0]),
        row("popularity", "-", columns[1]),
        row("transition_graph", "-", columns[2]),
        row("item_head", "direct-1", columns[3], "direct"),
        row("popularity", "-", columns[4], "direct"),
    ]
    set_against_best_baseline(rows, np.stack(columns, axis=1))
    assert [one.get(VERSUS, {}).get("model") for one in rows] == [
        "transition_graph", "transition_graph", None, "popularity", None,
    ]  # fmt: skip
    for place, best in ((0, 2), (1, 2), (3, 4)):
        ours, theirs = columns[place], columns[best]
        assert rows[place][VERSUS]["difference"] == pytest.approx(ours.mean() / theirs.mean() - 1)
        assert rows[place][VERSUS]["p"] == paired_bootstrap(ours, theirs).p


def test_rows_with_nothing_to_compare_stay_empty() -> None:
    ours, nothing = gains(1, 20, 0.5), np.zeros(20)
    rows = [row("fused", "seq-1", ours), row("item_head", "direct-1", ours, "direct"), row("popularity", "-", nothing)]
    set_against_best_baseline(rows, np.stack([ours, ours, nothing], axis=1))
    assert not any(VERSUS in one for one in rows)
