"""Item heads of several models in one fused list."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metatoken import Recommender
from metatoken.errors import ArgumentError
from metatoken.model.heads.ranking import item_scores
from metatoken.predict.fusion import Fusion, choose_fusion
from metatoken.predict.partners import Partners, pooled
from metatoken.predict.prior import CHANCE, Prior
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task
from tests.prompting import moved


def other(make_module, seed=1, **fields):
    """A module of its own, whose every weight was moved."""
    return moved(make_module(seed=seed, **fields), 0.2, 0.2, seed).eval()


def by_hand(module, history, users):
    """Probabilities of a model's item head, in double precision."""
    template, nothing = find_task("sequential").templates[0], np.zeros(len(users), dtype=int)
    (one,) = EvaluationBatches(module.reader, template, users, nothing, history, batch_size=len(users))
    return item_scores(module.network, one.batch).double().exp().numpy()


def test_the_pool_is_a_geometric_mean() -> None:
    rng = np.random.default_rng(0)
    first, second, third = (rng.dirichlet(np.ones(7), size=4) for _ in range(3))
    own, *others = (torch.from_numpy(np.log(one)) for one in (first, second, third))
    mean = (first * second * third) ** (1 / 3)
    np.testing.assert_allclose(pooled(own, others).exp().numpy(), mean / mean.sum(axis=1, keepdims=True), rtol=1e-9)
    assert pooled(own, []) is own


def test_partners_have_a_say_in_the_fused_list_alone(make_module, split, vocabularies) -> None:
    # A partner may have tokens of its own, and read histories in another way.
    models = [other(make_module), other(make_module, 2), other(make_module, 3, vocabulary=vocabularies[3])]
    history, users, fusion = split.log.sequences(), np.array([0, 5, 9]), Fusion(0.7, 0.0, 0.3)
    first, second, third = (by_hand(one, history, users) for one in models)
    prior = Prior.fit(split.log).scores(history, users).astype(float) + CHANCE / split.log.n_items
    expected = (first * second * third) ** (0.7 / 3) * prior**0.3
    alone = Recommender(models[0], split.log, fusion)
    together = Recommender(models[0], split.log, fusion, partners=models[1:])
    for row, user in enumerate(users):
        probable = expected[row] / expected[row].sum()
        probable[history[user]] = -1
        found = together.recommend(split.log.users.raw[user], k=8)
        assert [one.item for one in found] == [split.log.items.raw[item] for item in np.argsort(-probable)[:8]]
        np.testing.assert_allclose([one.score for one in found], np.sort(probable)[::-1][:8], rtol=1e-3)
        for kind in ("item_head", "generation"):
            lists = [one.recommend(split.log.users.raw[user], k=8, model=kind) for one in (alone, together)]
            assert lists[0] == lists[1]
    assert any(
        alone.recommend(split.log.users.raw[user], k=8) != together.recommend(split.log.users.raw[user], k=8)
        for user in users
    )


def test_weights_are_chosen_for_all_of_them(make_module, split) -> None:
    """A partner that knows the targets leaves nothing for the prior."""
    weak, strong = other(make_module), other(make_module, 2)

    class Knowing(Partners):
        def scores(self, history, users):
            assert len(history) > max(users)
            targets = dict(zip(held.users.tolist(), held.items.tolist(), strict=True))
            found = torch.full((len(users), split.log.n_items), -80.0)
            for row, user in enumerate(users.tolist()):
                found[row, targets[user]] = 0.0
            return [found]

    held = split.targets("validation")
    chosen = choose_fusion(weak, split, partners=Knowing([strong], split.log.items.raw))
    assert chosen.prior == 0
    assert choose_fusion(weak, split).prior > 0


def test_who_cannot_be_a_partner(make_module, split, vocabulary) -> None:
    items = split.log.items.raw
    with pytest.raises(ArgumentError, match="over the same items"):
        Partners([make_module()], items[1:])
    with pytest.raises(ArgumentError, match="with the task sequential"):
        Partners([make_module(tasks=["direct"])], items)
    with pytest.raises(ArgumentError, match="user_tokens: full"):
        Partners([make_module(user_tokens="full")], items)
    assert len(Partners([make_module()], items)) == 1
    assert Partners([], items).scores(split.log.sequences(), np.arange(3)) == []
