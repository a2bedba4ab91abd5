from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.errors import ArtifactError, MetatokenWarning
from metatoken.predict.choice import STEPS, Choice
from metatoken.predict.fusion import Fusion


def distributions(rng: np.random.Generator, users: int, items: int) -> torch.Tensor:
    return torch.from_numpy(rng.dirichlet(np.full(items, 0.3), users).astype(np.float32))


def opinions(seed: int, users: int, items: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[np.ndarray]]:
    """Two random opinions as logarithms; targets lean on the prior, and some of them were seen."""
    rng = np.random.default_rng(seed)
    item, prior = (distributions(rng, users, items).clamp_min(1e-9).log() for _ in range(2))
    targets = (0.3 * item + 0.7 * prior).argsort(dim=1, descending=True)[np.arange(users), rng.integers(0, 6, users)]
    seen = [rng.choice(items, rng.integers(0, 4), replace=False).astype(np.int32) for _ in range(users)]
    return item, prior, targets, seen


def ndcg_at_10(lists: np.ndarray, targets: np.ndarray, seen: list[np.ndarray]) -> float:
    """Sum over users, written without the package: sort, skip the seen, look for the target."""
    gain = 0.0
    for row, target, known in zip(lists, targets.tolist(), seen, strict=True):
        order = sorted(range(len(row)), key=lambda item: (-row[item], item))
        unseen = [item for item in order if item not in set(known.tolist())][:10]
        if target in unseen:
            gain += 1.0 / math.log2(unseen.index(target) + 2)
    return gain


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(6, 30), st.booleans())
def test_the_choice_equals_a_brute_force_loop(seed: int, users: int, items: int, coarse: bool) -> None:
    """Coarse scores have many ties."""
    item, prior, targets, seen = opinions(seed, users, items)
    if coarse:
        item, prior = ((scores / 3).round() for scores in (item, prior))
    choice, half = Choice(), users // 2
    for part in (slice(half), slice(half, None)):
        choice.add(item[part], prior[part], targets[part], seen[part])
    assert choice.users == users
    gains = []
    for n in range(STEPS + 1):
        mixed = ((STEPS - n) / STEPS * item + n / STEPS * prior).numpy()
        gains.append(ndcg_at_10(mixed, targets.numpy(), seen))
        assert float(choice.gain[n]) == pytest.approx(gains[-1], abs=1e-5)
    found = Fusion.of(choice)
    assert (found.item + found.prior, found.users, found.form) == (pytest.approx(1), users, "product")
    assert gains[round(found.prior * STEPS)] == pytest.approx(max(gains), abs=1e-5)


def test_the_one_that_knows_wins() -> None:
    know, nothing = distributions(np.random.default_rng(0), 40, 20).log(), [np.zeros(0, dtype=np.int32)] * 40
    flat = torch.full((40, 20), 0.05).log()
    for place, weight in ((0, 0.0), (1, 1 / STEPS)):
        # A flat opinion changes no rank: the least weight is as good as all, and the item head gets the rest.
        parts = [flat, flat]
        parts[place] = know
        choice = Choice()
        choice.add(parts[0], parts[1], know.argmax(dim=1), nothing)
        assert Fusion.of(choice).prior == pytest.approx(weight)


def test_equal_weights_lean_on_the_item_head() -> None:
    one = distributions(np.random.default_rng(0), 6, 15).log()
    choice = Choice()
    choice.add(one, one, one.argmax(dim=1), [np.zeros(0, dtype=np.int32)] * 6)
    assert (Fusion.of(choice).item, Fusion.of(choice).prior) == (1.0, 0.0)


def test_without_users_the_default() -> None:
    assert Fusion.of(Choice()) == Fusion()
    assert Fusion().users == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, STEPS))
def test_a_product_is_what_it_says(seed: int, n: int) -> None:
    """Written once more in float64, item by item; an item that nobody took and the prior never saw stays finite."""
    rng = np.random.default_rng(seed)
    item, prior = (distributions(rng, 4, 12).clamp_min(1e-9) for _ in range(2))
    prior[:, 3] = 0.0
    weight = n / STEPS
    found = Fusion(1 - weight, 0.0, weight).scores(item.log(), prior)
    expected = item.double().numpy() ** (1 - weight) * (prior.double().numpy() + 0.01 / 12) ** weight
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(found.double().exp().numpy(), expected, rtol=1e-3, atol=1e-9)
    assert torch.isfinite(found).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10), st.integers(0, 10))
def test_a_sum_of_distributions_is_one(seed: int, i: int, g: int) -> None:
    g = min(g, 10 - i)
    rng = np.random.default_rng(seed)
    parts = [distributions(rng, 4, 12) for _ in range(3)]
    item, generated, prior = parts
    weights = Fusion(i / 10, g / 10, (10 - i - g) / 10, form="sum")
    mixed = weights.scores(item.log(), prior, generated).exp()
    assert mixed.shape == (4, 12)
    assert (mixed >= 0).all()
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(4))


def test_pure_weights_give_the_part_itself() -> None:
    item, prior = (distributions(np.random.default_rng(n), 3, 8).clamp_min(1e-6) for n in range(2))
    for form in ("product", "sum"):
        found = Fusion(1.0, 0.0, 0.0, form=form).scores(item.log(), prior)
        torch.testing.assert_close(found.exp(), item)
        of_prior = Fusion(0.0, 0.0, 1.0, form=form).scores(item.log(), prior)
        assert torch.equal(of_prior.argsort(1), prior.argsort(1))


def test_saved_weights_come_back(tmp_path: Path) -> None:
    for fusion in (Fusion(0.3, 0.0, 0.7, users=17, content=0.2), Fusion(0.3, 0.1, 0.6, users=17, form="sum")):
        fusion.save(tmp_path / "fusion.json")
        assert Fusion.load(tmp_path / "fusion.json") == fusion


def test_weights_of_older_versions_are_of_a_sum(tmp_path: Path) -> None:
    (tmp_path / "fusion.json").write_text('{"item": 0.5, "generation": 0.2, "prior": 0.3, "users": 80}')
    assert Fusion.load(tmp_path / "fusion.json") == Fusion(0.5, 0.2, 0.3, users=80, form="sum")
    (tmp_path / "fusion.json").write_text('{"item": 0.5, "prior": 0.5, "form": "product", "content": 0.3}')
    assert Fusion.load(tmp_path / "fusion.json") == Fusion(0.5, 0.0, 0.5, content=0.3, content_form="sum")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2]",
        '{"item": 1, "weight": 2}',
        '{"item": "much"}',
        '{"item": 0.9}',
        "3",
        '{"item": 0.5, "prior": 0.5, "form": "mean"}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "content": 0.5, "content_form": "mean"}',
        '{"item": 0.5, "prior": 0.3, "generation": 0.2, "form": "product"}',
        "{}",
        '{"users": 80}',
        '{"prior": 0.4}',
        '{"item": true, "prior": false, "form": "product"}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "content": true}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "content": 1.5}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "content": NaN}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "content": "0.3"}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "content": 0.3, "content_form": ["sum"]}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "users": "many"}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "users": -3}',
        '{"item": 0.5, "prior": 0.5, "form": "product", "users": 1.5}',
    ],
)
def test_what_is_no_weights(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fusion.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match="fusion"):
        Fusion.load(path)


def test_the_message_says_what_the_file_holds(tmp_path: Path) -> None:
    """Weights that sum to 1 are not what is wrong with these."""
    path = tmp_path / "fusion.json"
    path.write_text('{"item": 0.5, "prior": 0.5, "form": "product", "content": 0.5, "content_form": "mean"}')
    with pytest.raises(ArtifactError, match=r"forms product or sum.*got \{.*'content_form': 'mean'"):
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
def test_weights_of_the_grid_are_idle_below_a_tenth(item: int) -> None:
    assert Fusion(item / STEPS, 0.0, (STEPS - item) / STEPS).idle is (item < STEPS // 10)


def test_an_idle_model_is_warned_of_with_a_next_step() -> None:
    with pytest.warns(MetatokenWarning, match=r"no weight, .* transition graph alone; try more epochs"):
        Fusion(0, 0, 1).warn()
    with pytest.warns(MetatokenWarning, match=r"a weight of 0\.05 in all"):
        Fusion(0.05, 0, 0.95).warn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Fusion(0.1, 0, 0.9).warn()
