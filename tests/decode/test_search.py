"""The step in the core equals the step in torch, and both equal a loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from metatoken.decode import search
from metatoken.decode.filters import ItemFilter
from metatoken.decode.search import Candidates
from metatoken.errors import ArgumentError
from metatoken.model.heads.trie_index import TrieIndex
from metatoken.tokens.trie import Trie
from tests.lists import assert_same_list

CODES = 5


def random_codes(rng, n, depth, ragged):
    tuples = set()
    while len(tuples) < n:
        length = int(rng.integers(1, depth + 1)) if ragged else depth
        tuples.add((*rng.integers(0, CODES, length).tolist(), *[-1] * (depth - length)))
    return np.array(sorted(tuples, key=lambda _: rng.random()), dtype=np.int64)


def world(seed, ragged, n=40, depth=3):
    rng = np.random.default_rng(seed)
    index = TrieIndex(Trie.from_codes(random_codes(rng, n, depth, ragged)))
    prompts = int(rng.integers(1, 4))
    inner = torch.nonzero(index.first_child[:-1] < index.first_child[1:])[:, 0]
    beams = []
    for prompt in range(prompts):
        some = rng.permutation(len(inner))[: int(rng.integers(0, 6))]
        beams += [(prompt, int(inner[node])) for node in some]
    owner = torch.tensor([b[0] for b in beams], dtype=torch.int64)
    nodes = torch.tensor([b[1] for b in beams], dtype=torch.int32)
    # Scores of few values, so that there are ties.
    scores = torch.from_numpy(rng.integers(-3, 1, len(beams)).astype(np.float32))
    candidates = Candidates(owner, nodes, scores, torch.arange(len(beams)))
    filters = ItemFilter(
        index,
        prompts,
        blocked=[rng.integers(0, n, int(rng.integers(0, n))) for _ in range(prompts)],
        allowed=[None if rng.random() < 0.6 else rng.integers(0, n, n) for _ in range(prompts)],
        catalogue=None if rng.random() < 0.5 else rng.random(n) < 0.8,
    )
    return rng, index, candidates, filters


def logits_of(rng, index, beams, full):
    values = torch.from_numpy(rng.integers(-2, 3, (len(beams), CODES)).astype(np.float32))
    end = torch.from_numpy(rng.integers(-2, 3, len(beams)).astype(np.float32)) if index.has_end else None
    total = torch.from_numpy(rng.random(len(beams)).astype(np.float32)) + 4 if full else None
    return values, end, total


def by_loop(index, beams, logits, filters, found, k, width):
    """What `best_children` must return, as lists of (prompt, id, score).

    Scores of different beams that are equal but for rounding may stand in either order; such examples are left out.
    Those of one beam tie exactly, so that the order of ids is tested.
    """
    values, end, total = logits
    nodes, leaves, every = [], [], []
    for prompt in range(filters.n_prompts):
        inner, items = [], []
        for row in torch.nonzero(beams.owner == prompt)[:, 0].tolist():
            node = int(beams.ids[row])
            children = range(int(index.first_child[node]), int(index.first_child[node + 1]))
            options = [(child, float(values[row, index.code[child]])) for child in children]
            if end is not None and index.terminal[node] >= 0:
                options.append((node, float(end[row])))
            norm = math.log(sum(math.exp(z) for _, z in options)) if total is None else float(total[row])
            for to, z in options:
                score = float(beams.scores[row]) + z - norm
                ends = to == node or index.first_child[to] == index.first_child[to + 1]
                low = int(index.terminal[to]) if ends else int(index.leaf_begin[to])
                high = low + 1 if ends else int(index.leaf_end[to])
                one = torch.tensor([prompt])
                allowed = int(filters.count(one, torch.tensor([low]), torch.tensor([high])))
                if allowed:
                    every.append((prompt, score, row))
                    (items if ends else inner).append((-round(score, 4), low if ends else to, allowed))
        items = sorted(items)[:k]
        leaves += [(prompt, leaf, -score) for score, leaf, _ in items]
        held = int(found[prompt]) + len(items)
        for rank, (score, node, allowed) in enumerate(sorted(inner)):
            if rank >= width and held >= k:
                break
            nodes.append((prompt, node, -score))
            held += allowed
    assume_apart(every)
    return nodes, leaves


def assume_apart(scored):
    """Leaves examples out in which two beams have the same score but for rounding: (prompt, score, beam)."""
    for (prompt, low, row), (other, high, beside) in itertools.pairwise(sorted(scored)):
        assume(prompt != other or row == beside or high - low > 2e-4)


def as_lists(candidates):
    scores = [round(score, 4) for score in candidates.scores.tolist()]
    return list(zip(candidates.owner.tolist(), candidates.ids.tolist(), scores, strict=True))


def agree(found, expected):
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert np.allclose([row[2] for row in found], [row[2] for row in expected], atol=2e-4)


@given(
    seed=st.integers(0, 10**6), ragged=st.booleans(), full=st.booleans(), k=st.integers(1, 12), width=st.integers(1, 6)
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_children(seed, ragged, full, k, width):
    rng, index, beams, filters = world(seed, ragged)
    found = torch.from_numpy(rng.integers(0, 3, filters.n_prompts))
    logits = logits_of(rng, index, beams, full)
    fast = search.best_children(index, beams, logits, filters, found, k, width)
    slow = search.select_children(index, beams, logits, filters, found, k, width)
    expected = by_loop(index, beams, logits, filters, found, k, width)
    for part in range(2):
        agree(as_lists(fast[part]), expected[part])
        agree(as_lists(slow[part]), expected[part])
        assert torch.equal(fast[part].rows, slow[part].rows)


LEAF_STEPS = (search.best_leaves, search.select_leaves)


@given(seed=st.integers(0, 10**6), ragged=st.booleans(), k=st.integers(1, 12))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_leaves(seed, ragged, k):
    rng, index, beams, filters = world(seed, ragged)
    states = torch.from_numpy(rng.standard_normal((filters.n_prompts, 19)).astype(np.float32))
    vectors = torch.from_numpy(rng.standard_normal((index.n_items, 19)).astype(np.float32))
    found = [step(index, beams, states, vectors, filters, k) for step in LEAF_STEPS]
    for prompt in range(filters.n_prompts):
        items = []
        for row in torch.nonzero(beams.owner == prompt)[:, 0].tolist():
            leaves = torch.arange(int(index.leaf_begin[beams.ids[row]]), int(index.leaf_end[beams.ids[row]]))
            scores = beams.scores[row] + torch.log_softmax(vectors[leaves] @ states[prompt], 0)
            allowed = filters.count(torch.full_like(leaves, prompt), leaves, leaves + 1) > 0
            items += zip((-scores[allowed]).tolist(), leaves[allowed].tolist(), strict=True)
        # The beams of this test may stand above each other, so a leaf may come twice.
        expected = sorted(items)[:k]
        for leaves in found:
            own = leaves.owner == prompt
            assert_same_list(
                leaves.ids[own].tolist(), leaves.scores[own].tolist(),
                [leaf for _, leaf in expected], [-score for score, _ in expected], atol=2e-4,
            )  # fmt: skip


def test_wide_nodes_take_the_vector_path():
    """Hundreds of children at one node, so that strips and their remainder are both used."""
    rng = np.random.default_rng(0)
    index = TrieIndex(Trie.from_codes(np.stack(np.unravel_index(rng.permutation(1100)[:1000], (2, 550)), 1)))
    beams = Candidates(*[torch.tensor(part) for part in ([0, 0], [1, 2], [0.0, -1.0], [0, 1])])
    beams = Candidates(beams.owner, beams.ids.int(), beams.scores, beams.rows)
    logits = (torch.from_numpy(rng.standard_normal((2, 550)).astype(np.float32)) * 8, None, None)
    filters, found = ItemFilter(index, 1), torch.zeros(1, dtype=torch.int64)
    fast = search.best_children(index, beams, logits, filters, found, 700, 5)[1]
    slow = search.select_children(index, beams, logits, filters, found, 700, 5)[1]
    assert_same_list(fast.ids.tolist(), fast.scores.tolist(), slow.ids.tolist(), slow.scores.tolist(), atol=1e-5)


def test_a_score_that_is_no_number_is_an_error():
    _, index, beams, filters = world(3, ragged=False)
    assert len(beams)
    values = torch.zeros(len(beams), CODES)
    begin = int(index.first_child[beams.ids[0]])
    values[0, index.code[begin]] = torch.nan  # one child of one beam is enough
    logits = (values, None, None)
    with pytest.raises(ArgumentError, match="not a number"):
        search.best_children(index, beams, logits, filters, torch.zeros(filters.n_prompts, dtype=torch.int64), 3, 3)


def test_logits_without_a_column_for_a_code_are_an_error():
    _, index, beams, filters = world(3, ragged=False)
    found = torch.zeros(filters.n_prompts, dtype=torch.int64)
    with pytest.raises(ArgumentError, match="expected a column for code"):
        search.best_children(index, beams, (torch.zeros(len(beams), 1), None, None), filters, found, 3, 3)


def test_what_is_not_of_the_trie_is_an_error():
    _, index, beams, filters = world(3, ragged=False)
    outside = Candidates(beams.owner, beams.ids + index.trie.n_nodes, beams.scores, beams.rows)
    states, vectors = torch.zeros(filters.n_prompts, 4), torch.zeros(index.n_items, 4)
    with pytest.raises(ArgumentError, match="nodes of the trie"):
        search.best_leaves(index, outside, states, vectors, filters, 3)
    filters.prefix = torch.zeros(3, dtype=torch.int32)
    with pytest.raises(ArgumentError, match="a count before each leaf"):
        search.best_leaves(index, beams, states, vectors, filters, 3)
