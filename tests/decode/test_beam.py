import numpy as np
import pytest
import torch

from metatoken.decode.beam import beam_search
from metatoken.errors import ArgumentError
from tests.prompting import prompts


def _prompts(module, split, n, template="seq-3"):
    sequences = split.train.sequences()
    seen = [sequences[user] for user in range(n)]
    return prompts(module, seen, template), seen


def _exact(module, split, user, leaf):
    """Path log-probability of every item of one prompt by the training path: no beam, no cache, a row an item."""
    from tests.model.test_network import _training_batch

    history = split.train.sequences()[user]
    with torch.no_grad():
        scores = module.network(_training_batch(module, [(history, i) for i in range(module.vocabulary.n_items)]))
    return sum(scores.tokens) if leaf else sum(scores.tokens[:-1]) + scores.shared


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("depth", [2, 3])
def test_wide_beam_is_the_exact_ranking(make_module, vocabularies, split, depth, leaf):
    module = make_module(vocabularies[depth])
    batch, seen = _prompts(module, split, 2, "seq-1")
    beams = beam_search(module.network, batch, seen, k=20, width=1000, leaf=leaf)
    for user in range(2):
        exact = _exact(module, split, user, leaf)
        exact[seen[user]] = -torch.inf
        best = torch.topk(exact, 20)
        torch.testing.assert_close(beams.scores[user], best.values, rtol=1e-4, atol=1e-4)
        assert set(beams.items[user].tolist()) == set(best.indices.tolist())


@pytest.mark.parametrize("width", [1, 3, 20])
@pytest.mark.parametrize("depth", [2, 3])
def test_k_valid_unseen_items_always_come_back(make_module, vocabularies, split, depth, width):
    module = make_module(vocabularies[depth])
    batch, seen = _prompts(module, split, 12)
    for k in (1, 10, 60):
        beams = beam_search(module.network, batch, seen, k=k, width=width, leaf=None)
        for user, items in enumerate(beams.items.tolist()):
            assert len(set(items)) == k
            assert all(0 <= item < module.vocabulary.n_items for item in items)
            assert not set(items) & set(seen[user].tolist())
        assert (beams.scores[:, :-1] >= beams.scores[:, 1:]).all()


def test_filters_only_remove(make_module, split):
    """The scores of the items that stay are those without a filter: a filter never renormalises."""
    module = make_module()
    batch, _ = _prompts(module, split, 4)
    free = beam_search(module.network, batch, [np.zeros(0, int)] * 4, k=100, width=1000)
    gone = [items[:40].numpy() for items in free.items]
    rest = beam_search(module.network, batch, gone, k=60, width=1000)
    torch.testing.assert_close(rest.items, free.items[:, 40:])
    torch.testing.assert_close(rest.scores, free.scores[:, 40:])


def test_fewer_than_k_allowed_items_are_padded(make_module, split):
    module = make_module()
    batch, _ = _prompts(module, split, 2)
    n = module.vocabulary.n_items
    beams = beam_search(module.network, batch, [np.arange(3, n), np.arange(n)], k=5)
    assert sorted(beams.items[0].tolist()) == [-1, -1, 0, 1, 2]
    assert beams.items[1].tolist() == [-1] * 5
    assert beams.scores[1].isneginf().all()


def test_bad_arguments_are_refused(make_module, split):
    module = make_module()
    batch, seen = _prompts(module, split, 2)
    with pytest.raises(ArgumentError, match="k: expected"):
        beam_search(module.network, batch, seen, k=0)
    with pytest.raises(ArgumentError, match="width: expected"):
        beam_search(module.network, batch, seen, width=0)
    with pytest.raises(ArgumentError, match="blocked: expected"):
        beam_search(module.network, batch, seen[:1])
