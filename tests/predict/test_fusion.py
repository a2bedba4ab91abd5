from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.errors import ArtifactError, MetatokenWarning
from metatoken.predict.fusion import STEPS, Candidates, Fusion, QuickChoice, choose


def distributions(rng: np.random.Generator, users: int, items: int) -> torch.Tensor:
    return torch.from_numpy(rng.dirichlet(np.full(items, 0.3), users).astype(np.float32))


def candidates(seed: int, users: int, items: int) -> Candidates:
    """Three random distributions; targets lean on the prior, and some of them were seen."""
    rng = np.random.default_rng(seed)
    item, generation, prior = (distributions(rng, users, items) for _ in range(3))
    targets = (0.3 * item + 0.7 * prior).argsort(dim=1, descending=True)[np.arange(users), rng.integers(0, 6, users)]
    seen = [rng.choice(items, rng.integers(0, 4), replace=False).astype(np.int32) for _ in range(users)]
    return item, generation, prior, targets, seen


def ndcg_at_10(lists: np.ndarray, targets: np.ndarray, seen: list[np.ndarray]) -> float:
    """Sum over users, written without the package: sort, skip the seen, look for the target."""
    gain = 0.0
    for row, target, known in zip(lists, targets.tolist(), seen, strict=True):
        order = sorted(range(len(row)), key=lambda item: (-row[item], item))
        unseen = [item for item in order if item not in set(known.tolist())][:10]
        if target in unseen:
            gain += 1.0 / math.log2(unseen.index(target) + 2)
    return gain


def brute_force(batches: list[Candidates]) -> dict[tuple[int, int, int], float]:
    """NDCG@10 of every combination of tenths."""
    grid = [w for w in itertools.product(range(11), repeat=3) if sum(w) == 10]
    return {
        (i, g, p): sum(
            ndcg_at_10((i / 10 * item + g / 10 * generation + p / 10 * prior).numpy(), targets.numpy(), seen)
            for item, generation, prior, targets, seen in batches
        )
        for i, g, p in grid
    }


def tenths(fusion: Fusion) -> tuple[int, int, int]:
    return round(10 * fusion.item), round(10 * fusion.generation), round(10 * fusion.prior)


@pytest.mark.parametrize("seed", range(3))
def test_choose_equals_a_brute_force_loop(seed: int) -> None:
    batches = [candidates(10 * seed + n, users, 30) for n, users in enumerate((9, 1, 5))]
    gains = brute_force(batches)
    found = choose(batches)
    assert gains[tenths(found)] == pytest.approx(max(gains.values()), abs=1e-9)
    best = [weights for weights, gain in gains.items() if gain > max(gains.values()) - 1e-9]
    assert found.item == max(weights[0] for weights in best) / 10
    assert found.users == 15
    assert found.item + found.generation + found.prior == pytest.approx(1, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(6, 30), st.booleans())
def test_the_quick_choice_equals_a_brute_force_loop(seed: int, users: int, items: int, coarse: bool) -> None:
    """Item head and prior alone; coarse scores have many ties."""
    item, _, prior, targets, seen = candidates(seed, users, items)
    if coarse:
        item, prior = ((4 * scores / scores.max()).round() / 4 for scores in (item, prior))
    found = QuickChoice()
    half = users // 2
    for part in (slice(half), slice(half, None)):
        found.add(item[part], prior[part], targets[part], seen[part])
    assert found.users == users
    for n in range(STEPS + 1):
        mixed = ((STEPS - n) / STEPS * item + n / STEPS * prior).numpy()
        assert float(found.gain[n]) == pytest.approx(ndcg_at_10(mixed, targets.numpy(), seen), abs=1e-5)


def test_the_one_distribution_that_knows_wins() -> None:
    rng = np.random.default_rng(0)
    know = distributions(rng, 40, 20)
    for place in range(3):
        parts = [torch.full((40, 20), 0.05) for _ in range(3)]
        parts[place] = know
        nothing = [np.zeros(0, dtype=np.int32)] * 40
        found = choose([(parts[0], parts[1], parts[2], know.argmax(dim=1), nothing)])
        # Flat distributions change no rank: a tenth is as good as all, and the item head gets the rest.
        assert tenths(found) == ((10, 0, 0), (9, 1, 0), (9, 0, 1))[place]


def test_equal_weights_lean_on_the_item_head() -> None:
    one = distributions(np.random.default_rng(0), 6, 15)
    found = choose([(one, one, one, one.argmax(dim=1), [np.zeros(0, dtype=np.int32)] * 6)])
    assert tenths(found) == (10, 0, 0)


def test_without_users_the_default() -> None:
    assert choose([]) == Fusion()
    assert Fusion().users == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10), st.integers(0, 10))
def test_a_mixture_of_distributions_is_one(seed: int, i: int, g: int) -> None:
    g = min(g, 10 - i)
    rng = np.random.default_rng(seed)
    parts = [distributions(rng, 4, 12) for _ in range(3)]
    mixed = Fusion(i / 10, g / 10, (10 - i - g) / 10).mix(*parts)
    assert mixed.shape == (4, 12)
    assert (mixed >= 0).all()
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(4))


def test_pure_weights_give_the_part_itself() -> None:
    parts = [distributions(np.random.default_rng(n), 3, 8) for n in range(3)]
    for place, weights in enumerate(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))):
        assert torch.equal(Fusion(*weights).mix(*parts), parts[place])


def test_saved_weights_come_back(tmp_path: Path) -> None:
    fusion = Fusion(0.3, 0.1, 0.6, users=17)
    fusion.save(tmp_path / "fusion.json")
    assert Fusion.load(tmp_path / "fusion.json") == fusion


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '{"item": 1, "weight": 2}', '{"item": "much"}', '{"item": 0.9}', "3"]
)
def test_what_is_no_weights(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fusion.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match="fusion"):
        Fusion.load(path)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="absent"):
        Fusion.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("weights", "idle"),
    [((0, 0, 1), True), ((0.05, 0.04, 0.91), True), ((0.1, 0, 0.9), False), ((0, 0.1, 0.9), False), ((1, 0, 0), False)],
)
def test_a_model_without_weight_is_idle(weights: tuple[float, float, float], idle: bool) -> None:
    assert Fusion(*weights).idle is idle


@pytest.mark.parametrize("item", range(STEPS + 1))
def test_weights_of_the_grid_are_idle_at_zero_alone(item: int) -> None:
    for generation in range(STEPS + 1 - item):
        fusion = Fusion(item / STEPS, generation / STEPS, (STEPS - item - generation) / STEPS)
        assert fusion.idle is (item + generation == 0)


def test_an_idle_model_is_warned_of_with_a_next_step() -> None:
    with pytest.warns(MetatokenWarning, match=r"no weight, .* transition graph alone; try more epochs"):
        Fusion(0, 0, 1).warn()
    with pytest.warns(MetatokenWarning, match=r"a weight of 0\.05 in all"):
        Fusion(0.05, 0, 0.95).warn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Fusion(0.1, 0, 0.9).warn()
