"""Beam search, exact ranking and one item at a time agree, for every head, normaliser and shape of trie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metatoken.decode import search
from metatoken.decode.beam import DiverseBeams, beam_search
from metatoken.decode.exact import exact_ranking, exact_scores
from metatoken.errors import ArgumentError
from tests.lists import assert_same_list
from tests.model.test_network import TINY_T5, _training_batch
from tests.prompting import prompts

N = 100  # items of the world


def ragged(vocabulary, seed=0):
    """The vocabulary with some items' codes cut: some become prefixes of others, some nodes get mixed children."""
    rng = np.random.default_rng(seed)
    codes = vocabulary.item_codes.copy()
    taken = {tuple(row) for row in codes.tolist()}
    for item in rng.permutation(len(codes)):
        length = int(rng.integers(1, codes.shape[1] + 1))
        short = (*codes[item, :length].tolist(), *[-1] * (codes.shape[1] - length))
        if short not in taken:
            taken.add(short)
            codes[item] = short
    tokens = np.where(codes >= 0, codes + vocabulary.level_offsets[: codes.shape[1]], -1)
    other = replace(vocabulary, item_codes=codes)
    assert np.array_equal(other.item_tokens, tokens)
    return other


@pytest.fixture(scope="module")
def modules(vocabularies):
    """Untrained modules by (backbone, shape of the trie, normaliser)."""
    from metatoken import MetaTokenModule
    from tests.conftest import SMALL

    tries = {"2": vocabularies[2], "3": vocabularies[3], "ragged": ragged(vocabularies[3])}
    backbones = {"gpt2": {"preset": SMALL}, "t5": TINY_T5}
    made = {}
    for backbone, fields in backbones.items():
        for shape, vocabulary in tries.items():
            for normaliser in ("trie", "full"):
                module = MetaTokenModule(vocabulary, normaliser=normaliser, max_history=20, **fields).eval()
                made[backbone, shape, normaliser] = module
    return made


def asked(module, split, users, template="seq-1"):
    """Prompts of users."""
    sequences = split.train.sequences()
    return prompts(module, [sequences[user] for user in users], template)


CASES = [(b, s, n) for b in ("gpt2", "t5") for s in ("2", "3", "ragged") for n in ("trie", "full")]


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_exact_scores_are_the_training_scores_of_every_item(modules, split, case, leaf):
    module = modules[case]
    history = split.train.sequences()[3]
    with torch.no_grad():
        scores = module.network(_training_batch(module, [(history, item) for item in range(N)]))
    expected = sum(scores.tokens) if leaf else sum(scores.tokens[:-1]) + scores.shared
    for rows in (7, 2048):
        found = exact_scores(module.network, asked(module, split, [3]), leaf=leaf, rows=rows)[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    if case[2] == "trie":
        torch.testing.assert_close(found.exp().sum(), torch.tensor(1.0))


LISTS = st.lists(st.integers(0, N - 1), max_size=N).map(np.array)


@given(
    case=st.sampled_from(CASES),
    leaf=st.booleans(),
    users=st.lists(st.integers(0, 199), min_size=1, max_size=3),
    blocked=st.lists(LISTS, min_size=3, max_size=3),
    allowed=st.none() | st.lists(st.none() | LISTS, min_size=3, max_size=3),
    share=st.none() | st.floats(0, 1),
    k=st.integers(1, 120),
)
@settings(max_examples=40, deadline=None)
def test_a_beam_as_wide_as_the_catalogue_is_the_exact_ranking(
    modules, split, case, leaf, users, blocked, allowed, share, k
):
    network, batch = modules[case].network, asked(modules[case], split, users)
    filters = {
        "blocked": blocked[: len(users)],
        "allowed": None if allowed is None else allowed[: len(users)],
        "catalogue": None if share is None else np.random.default_rng(k).random(N) < share,
    }
    wide = beam_search(network, batch, **filters, k=k, width=N, leaf=leaf)
    exact = exact_ranking(network, batch, **filters, k=k, leaf=leaf)
    torch.testing.assert_close(wide.scores, exact.scores, rtol=1e-4, atol=1e-4)
    # Items whose scores differ by rounding only may change places.
    everything = exact_scores(network, batch, leaf=leaf)
    for row, items in enumerate(wide.items.tolist()):
        real = [item for item in items if item >= 0]
        own = everything[row, real]
        torch.testing.assert_close(own, exact.scores[row, : len(real)], rtol=1e-4, atol=1e-4)
    check_lists(wide.items, filters, k, len(users))
    narrow = beam_search(network, batch, **filters, k=k, width=2, leaf=leaf)
    check_lists(narrow.items, filters, k, len(users))
    diverse = beam_search(network, batch, **filters, k=k, width=4, leaf=leaf, diversity=DiverseBeams(3, 1.0))
    check_lists(diverse.items, filters, k, len(users))


def check_lists(items, filters, k, n):
    """As many allowed items as there are, up to k, none twice, the rest -1 at the end."""
    for row in range(n):
        ok = np.ones(N, dtype=bool) if filters["catalogue"] is None else filters["catalogue"].copy()
        ok[filters["blocked"][row].astype(int)] = False
        if filters["allowed"] is not None and filters["allowed"][row] is not None:
            ok &= np.isin(np.arange(N), filters["allowed"][row])
        found = items[row].tolist()
        count = min(k, int(ok.sum()))
        assert len(set(found[:count])) == count
        assert all(ok[item] for item in found[:count])
        assert found[count:] == [-1] * (k - count)


def lists(beams, row):
    """Items and scores of one prompt."""
    return beams.items[row].tolist(), beams.scores[row].tolist()


def test_full_normaliser_counts_tokens_of_other_prefixes(modules, split):
    """Its scores are lower, and by the share that tokens outside the trie node take."""
    trie, full = (modules["gpt2", "2", name] for name in ("trie", "full"))
    full.network.load_state_dict(trie.network.state_dict())
    batch = asked(trie, split, [0, 1])
    network = full.network
    found = exact_scores(network, batch, leaf=False)
    assert (found < exact_scores(trie.network, batch, leaf=False)).all()
    # By hand: both tokens' softmax over all OOV tokens.
    prefix = network.start(batch)
    scaled = network.generation.scaled(network.table())
    first = torch.log_softmax(prefix.last @ scaled.T, 1)
    item = 17
    tokens = network.items.tokens[item].long()
    after = network.backbone.step(prefix, torch.arange(2), tokens[:1].expand(2) + network.base)
    by_hand = first[:, tokens[0]] + torch.log_softmax(after.last @ scaled.T, 1)[:, tokens[1]]
    torch.testing.assert_close(found[:, item], by_hand, rtol=1e-4, atol=1e-5)


def test_diverse_beams_name_more_first_codes(modules, split):
    module = modules["gpt2", "2", "trie"]
    batch = asked(module, split, range(8))
    none = beam_search(module.network, batch, k=12, width=20)
    much = beam_search(module.network, batch, k=12, width=20, diversity=DiverseBeams(groups=6, penalty=20.0))
    first = torch.from_numpy(module.vocabulary.item_codes[:, 0])

    def distinct(found):
        return [len(set(first[row].tolist())) for row in found.items]

    assert sum(distinct(much)) > sum(distinct(none))
    exact = exact_scores(module.network, batch)
    torch.testing.assert_close(much.scores, exact.gather(1, much.items), rtol=1e-4, atol=1e-4)
    # One group, or no penalty with beams that are never cut, is the plain search.
    for diversity in (DiverseBeams(1, 5.0), DiverseBeams(4, 0.0)):
        same = beam_search(module.network, batch, k=12, width=400, diversity=diversity)
        plain = beam_search(module.network, batch, k=12, width=400)
        for row in range(8):
            assert_same_list(*lists(same, row), *lists(plain, row))


@pytest.mark.parametrize("fields", [{"groups": 0}, {"penalty": -1.0}])
def test_diversity_is_checked(fields):
    with pytest.raises(ArgumentError, match="diversity"):
        DiverseBeams(**fields)


@pytest.mark.parametrize("case", CASES[:3] + CASES[6:9], ids="-".join)
def test_a_prefix_serves_many_searches(modules, split, case):
    network, batch = modules[case].network, asked(modules[case], split, [0, 5])
    prefix = network.start(batch)
    for leaf in (False, True, False):
        shared = beam_search(network, batch, k=20, leaf=leaf, prefix=prefix)
        fresh = beam_search(network, batch, k=20, leaf=leaf)
        assert torch.equal(shared.items, fresh.items)
        assert torch.equal(shared.scores, fresh.scores)


def test_a_prompt_does_not_depend_on_its_neighbours(modules, split):
    """Beams are kept for each prompt by itself, however many another prompt needs."""
    module = modules["gpt2", "3", "trie"]
    batch = asked(module, split, [0, 1])
    blocked = [np.array([1, 2, 3]), np.arange(10, N)]
    both = beam_search(module.network, batch, blocked, k=30, width=3)
    alone = beam_search(module.network, asked(module, split, [0]), blocked[:1], k=30, width=3)
    assert_same_list(*lists(both, 0), *lists(alone, 0))


def test_exact_ranking_checks_k(modules, split):
    module = modules["gpt2", "2", "trie"]
    with pytest.raises(ArgumentError, match="k: expected"):
        exact_ranking(module.network, asked(module, split, [0]), k=0)


def test_kept_item_vectors_follow_the_weights(modules, split):
    module = modules["gpt2", "2", "trie"]
    batch = asked(module, split, [0])
    before = beam_search(module.network, batch, k=5)
    with torch.no_grad():
        module.network.items.residual.add_(torch.randn_like(module.network.items.residual))
    after = beam_search(module.network, batch, k=5)
    assert not torch.equal(before.scores, after.scores)
    torch.testing.assert_close(after.scores, exact_ranking(module.network, batch, k=5).scores)


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("case", CASES[:6], ids="-".join)
def test_the_torch_steps_give_the_same_lists(modules, split, case, leaf, monkeypatch):
    """What runs on other devices, over a whole search."""
    network, batch = modules[case].network, asked(modules[case], split, [0, 7, 9])
    blocked = [split.train.sequences()[user] for user in (0, 7, 9)]
    fast = beam_search(network, batch, blocked, k=30, width=6, leaf=leaf)
    monkeypatch.setattr("metatoken.decode.beam.best_children", search.select_children)
    monkeypatch.setattr("metatoken.decode.beam.best_leaves", search.select_leaves)
    slow = beam_search(network, batch, blocked, k=30, width=6, leaf=leaf)
    torch.testing.assert_close(fast.scores, slow.scores, rtol=1e-5, atol=1e-5)
    assert (fast.items == slow.items).float().mean() > 0.95  # scores that differ by rounding may change places


@pytest.mark.parametrize("backbone", ["gpt2", "t5"])
def test_saved_and_loaded(modules, split, tmp_path, backbone):
    from metatoken.model.store.saving import load_model, save_model

    module = modules[backbone, "ragged", "full"]
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", module.vocabulary)
    assert again.settings.normaliser == "full"
    batch = asked(module, split, [0, 1])
    for leaf in (True, False):
        before, after = (exact_scores(one.network, batch, leaf=leaf) for one in (module, again))
        assert torch.equal(before, after)
