"""What the functions of the native core must give, found in double precision by NumPy and SciPy.

Each takes the arguments as they were, and what came back with the arguments as they are now; it raises
`AssertionError` where something is not right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from metatoken._core.trie import Trie

Given, Gave = dict[str, Any], tuple[Any, Any]
Matrix = NDArray[np.float64]
LARGE = 1e8  # logits beyond it have no digits behind the point in float32, and may come out as not finite

MOST = 1e30  # sums of larger values may be more than float32 holds


def fitted(given: Given, gave: Gave) -> None:
    centroids, codes, inertia, *_, kernel = gave[0]
    x, levels = _placed(given["x"], given["metric"]), list(given["levels"])
    assert codes.shape == (len(x), len(levels))
    assert len(inertia) == len(levels)
    assert kernel
    for level, size in enumerate(levels):
        assert centroids[level].shape == (size, x.shape[1])
        assert np.isfinite(centroids[level]).all(), "a centroid is no number"
        assert 0 <= codes[:, level].min() <= codes[:, level].max() < size
    lost = float(np.square(x - centroids[0][codes[:, 0]]).sum())
    assert abs(lost - inertia[0]) <= 1e-3 * lost + 1e-5 * float(np.square(x).sum()), (lost, inertia)
    if given["max_cluster_size"] is not None:
        assert np.bincount(codes[:, 0]).max() <= given["max_cluster_size"]
    apart = len(np.unique(x, axis=0))
    if np.abs(x).max() > 0 and apart > 10 and levels[0] > 1:
        assert len(np.unique(codes[:, 0])) > 1, "rows that differ are all in one cluster"


def assigned(given: Given, gave: Gave) -> None:
    codes, left = gave[0], _placed(given["x"], given["metric"])
    assert codes.shape == (len(left), len(given["centroids"]))
    for level, words in enumerate(np.asarray(one, np.float64) for one in given["centroids"]):
        wanted = words
        if level == 0 and given["metric"] == "cosine":
            wanted = _placed(words, "cosine")
        distances = np.square(left[:, None] - wanted).sum(axis=2)
        if level == 0 and given["metric"] == "cosine":
            distances = -left @ wanted.T
        chosen = distances[np.arange(len(left)), codes[:, level]]
        scale = np.square(left).sum(axis=1) + np.square(wanted).sum(axis=1).max()
        assert (chosen <= distances.min(axis=1) + 1e-4 * scale).all(), "a nearer codeword was left"
        left = left - words[codes[:, level]]


def made_unique(given: Given, gave: Gave) -> None:
    codes, kept, before, after = gave[0]
    assert 0 <= kept <= 1
    assert before >= 0
    assert after >= 0
    assert len(codes) == len(given["x"])
    if given["unique"] != "none":
        everyone = [(kind, *row) for kind, row in zip(given["kinds"].tolist(), codes.tolist(), strict=True)]
        taken = zip(given["occupied_kinds"].tolist(), given["occupied"].tolist(), strict=True)
        everyone += [(kind, *row) for kind, row in taken]
        if given["unique"] != "rank":
            assert len(set(everyone)) == len(everyone), "codes repeat"


def contested(given: Given, gave: Gave) -> None:
    codes, counts = gave[0], given["counts"]
    room = min(math.prod(given["levels"][1:]), given["max_cluster_size"] or 1 << 62)
    bounded = given["unique"] in ("assignment", "nearest")
    over = set(np.flatnonzero(counts > room).tolist()) if bounded else set()
    assert over <= set(codes.tolist()) <= set(np.flatnonzero(counts).tolist())
    assert bool(len(codes)) == bool(over) or given["unique"] == "rank"


def settled(given: Given, gave: Gave) -> None:
    first, counts = gave[0], given["counts"]
    sizes = [len(words) for words in given["centroids"]]
    room = min(math.prod(sizes[1:]), given["max_cluster_size"] or 1 << 62)
    moved = counts - np.bincount(given["nearest"], minlength=sizes[0]) + np.bincount(first, minlength=sizes[0])
    stay = counts - np.bincount(given["nearest"], minlength=sizes[0])
    assert (moved <= np.maximum(room, stay)).all()


def assigned_columns(given: Given, gave: Gave) -> None:
    cost, columns = given["cost"], gave[0]
    assert len(set(columns.tolist())) == len(columns) == len(cost)
    if len(cost):
        scale = np.abs(cost).max() or 1.0
        best = (cost / scale)[linear_sum_assignment(cost / scale)].sum()
        assert (cost / scale)[np.arange(len(cost)), columns].sum() <= best + 1e-9 * len(cost)


def built(given: Given, gave: Gave) -> None:
    made = gave[0]
    for source, target, rows, _, weights in given["edges"]:
        if weights is None and len(given["edges"]) == 1:
            assert made.n_edges(source, target) == len(rows)


def walked(given: Given, gave: Gave) -> None:
    nodes, _ = gave[0]
    assert nodes.shape[1] == given["walk_length"]
    assert (nodes[:, 0] >= 0).all()
    assert nodes.size == 0 or nodes.max() < 32
    assert ((nodes[:, 1:] >= 0) <= (nodes[:, :-1] >= 0)).all()


def visited(given: Given, gave: Gave) -> None:
    assert np.isfinite(gave[0]).all()
    assert (gave[0] >= 0).all()
    assert gave[0].sum() <= 32 * given["walk_length"] + 1e-6


def trained(given: Given, gave: Gave) -> None:
    vectors, contexts, seen, pairs = gave[0]
    assert vectors.shape == contexts.shape == (32, given["dim"])
    assert np.isfinite(vectors).all()
    assert np.isfinite(contexts).all()
    assert seen.any() >= (pairs > 0)
    if given["subsample"] == 0:  # else all nodes may be left out
        assert seen.any() == (pairs > 0)


def drawn(given: Given, gave: Gave) -> None:
    assert gave[0].sum() == given["draws"]
    assert (gave[0][given["weights"] == 0] == 0).all()
    share = given["weights"] / given["weights"].max()
    share = share / share.sum()
    expected = share * given["draws"]
    assert (np.abs(gave[0] - expected) <= 6 * np.sqrt(expected) + 6).all(), "draws do not follow the weights"


def normalised(given: Given, gave: Gave) -> None:
    total, states, vectors, _ = gave[0]
    logits, bounds = _logits(given)
    bound = bounds.max(axis=1, initial=0.0)
    _same(total, _log_sum_exp(logits), bound)
    if given["weights"] is not None and bound.max() < 1e4:
        with np.errstate(all="ignore"):
            shares = np.exp(logits - _log_sum_exp(logits)[:, None]) * given["weights"][:, None]
        _near(states, shares @ given["vectors"].astype(np.float64), "a gradient in states")
        _near(vectors, shares.T @ given["states"].astype(np.float64), "a gradient in vectors")


def normalised_below(given: Given, gave: Gave) -> None:
    logits, bounds = _logits(given)
    ranges = zip(given["begin"].tolist(), given["end"].tolist(), strict=True)
    places = [(row, slice(max(a, 0), max(b, 0))) for row, (a, b) in enumerate(ranges)]
    wanted = [_log_sum_exp(logits[row : row + 1, inside])[0] for row, inside in places]
    # What stands outside of a slice, such as NaN, says nothing of the digits inside of it.
    _same(gave[0], np.array(wanted), np.array([bounds[place].max(initial=0.0) for place in places]))


def added(given: Given, gave: Gave) -> None:
    logits, bounds = _logits(given)
    if not (bounds.max() < 1e4 and np.isfinite(given["below"]).any()):
        return
    shares = np.zeros_like(logits)
    for row, (a, b) in enumerate(zip(given["begin"].tolist(), given["end"].tolist(), strict=True)):
        if a < b and given["below"][row] != -np.inf:
            shares[row, a:b] = np.exp(logits[row, a:b] - given["below"][row]) * given["weights"][row]
    if np.abs(shares).max() < 1e20:
        wanted = given["to_states"] + shares @ given["vectors"].astype(np.float64)
        _near(gave[1]["to_states"], wanted, "a gradient in states")


def ranked(given: Given, gave: Gave) -> None:
    items, values = gave[0]
    slack, share, k = given.get("tolerance"), given.get("share"), int(given["k"])
    for row, scores in enumerate(given["scores"]):
        gone = given["removed"][given["offsets"][row] : given["offsets"][row + 1]]
        left = np.setdiff1d(np.flatnonzero(~np.isneginf(scores)), gone)
        wanted = left[np.lexsort((left, -scores[left]))]
        if len(wanted) > k and slack is None and share is None:
            wanted = wanted[:k]
        elif len(wanted) > k:
            kth = scores[wanted[k - 1]]
            width = np.float32(slack) if slack is not None else np.float32(share) * np.abs(kth)
            wanted = wanted[scores[wanted] >= (kth - width if np.isfinite(kth) else kth)]
        assert items[row, : len(wanted)].tolist() == wanted.tolist(), "the best items"
        assert (values[row, : len(wanted)] == scores[wanted]).all(), "their scores"
        assert (items[row, len(wanted) :] == -1).all(), "what stands behind the last item"


def walked_twice(given: Given, gave: Gave) -> None:
    n = len(given["popularity"])
    steps, starts = (_dense(given[name], n) for name in ("steps", "starts"))
    weights = [*given["popularity"], given["second_hop"], given["smoothing"]]
    if not all(np.isfinite(one).all() and np.abs(one).max(initial=0) < 1e6 for one in (steps, starts, weights)):
        return
    one = starts @ steps
    graph = one + float(given["second_hop"]) * (one @ steps)
    if graph.min(initial=0) < 0 or steps.min(initial=0) < 0 or starts.min(initial=0) < 0:
        return  # no weights of a walk
    mass, smoothing = graph.sum(axis=1, keepdims=True), float(given["smoothing"])
    if ((mass > 0) & (mass < 1e-20)).any():
        return  # float32 loses it
    shared = np.divide((1 - smoothing) * graph, mass, out=np.zeros_like(graph), where=mass > 0)
    _near(gave[0], shared + np.where(mass > 0, smoothing, 1.0) * given["popularity"], "a distribution")


def _dense(rows: tuple[NDArray[Any], ...], n: int) -> Matrix:
    offsets, columns, values = rows
    dense = np.zeros((len(offsets) - 1, n))
    np.add.at(dense, (np.repeat(np.arange(len(dense)), np.diff(offsets)), columns), values.astype(np.float64))
    return dense


def indexed(given: Given, gave: Gave) -> None:
    made = gave[0]
    again = Trie.from_arrays(made.arrays(), made.depth)
    assert all((a == b).all() for a, b in zip(made.arrays(), again.arrays(), strict=True))
    assert len(made.arrays()[4]) == len(given["codes"])


def indexed_again(given: Given, gave: Gave) -> None:
    assert all((np.asarray(a) == b).all() for a, b in zip(given["arrays"], gave[0].arrays(), strict=True))


def children(made: Trie, given: Given, gave: Gave) -> None:
    inner, items = gave[0]
    _kept(given, items, given["k"])
    _allowed(made, given, items)
    assert (np.asarray(inner[1]) < len(made.arrays()[0])).all()


def leaves(made: Trie, given: Given, gave: Gave) -> None:
    _kept(given, gave[0], given["k"])
    _allowed(made, given, gave[0])


def _kept(given: Given, found: Any, k: int) -> None:
    counts, ids, scores, rows = found
    assert counts.sum() == len(ids) == len(scores) == len(rows)
    assert not np.isnan(scores).any(), "a score is no number"
    assert (counts <= k).all()
    offsets = given["beams"][0]
    for prompt, (begin, end) in enumerate(zip(np.cumsum(counts) - counts, np.cumsum(counts), strict=True)):
        assert (np.diff(scores[begin:end]) <= 0).all() or np.isinf(scores[begin:end]).any()
        assert ((rows[begin:end] >= offsets[prompt]) & (rows[begin:end] < offsets[prompt + 1])).all()


def _allowed(made: Trie, given: Given, found: Any) -> None:
    offsets, listed, inverted, prefix = given["filters"]
    prompts = np.repeat(np.arange(len(found[0])), found[0])
    for prompt, leaf in zip(prompts, found[1].tolist(), strict=True):
        there = leaf in listed[offsets[prompt] : offsets[prompt + 1]].tolist()
        assert there != bool(inverted[prompt])
        assert prefix is None or not inverted[prompt] or prefix[leaf + 1] > prefix[leaf]
    assert len(made.arrays()[4]) > found[1].max(initial=0)


def _placed(x: Any, metric: str) -> Matrix:
    rows = np.asarray(x, np.float64)
    if metric == "cosine":
        lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return rows


def _logits(given: Given) -> tuple[Matrix, Matrix]:
    """In double precision, and for each of them a bound of what a sum comes to on the way."""
    states, vectors = given["states"].astype(np.float64), given["vectors"].astype(np.float64)
    bias = 0.0 if given["bias"] is None else given["bias"].astype(np.float64)
    kept = np.where(np.isneginf(bias), 0.0, bias)
    return states @ vectors.T + bias, np.abs(states) @ np.abs(vectors).T + np.abs(kept)


def _log_sum_exp(logits: Matrix) -> Matrix:
    with np.errstate(all="ignore"):
        most = logits.max(axis=1, initial=-np.inf)
        shift = np.where(np.isfinite(most), most, 0.0)
        total: Matrix = np.log(np.exp(logits - shift[:, None]).sum(axis=1)) + shift
    return total


def _same(found: Any, wanted: Matrix, bound: Matrix) -> None:
    """Equal up to rounding; not finite where the truth is not, or float32 has no room for it."""
    for one, truth, most in zip(found.tolist(), wanted.tolist(), bound.tolist(), strict=True):
        if np.isfinite(truth) and most < LARGE:
            assert abs(one - truth) <= 1e-4 * (1 + most), (one, truth)
        elif np.isneginf(truth):
            assert np.isneginf(one), (one, truth)
        else:
            assert not np.isfinite(one) or (np.isfinite(truth) and abs(one - truth) <= 1e-4 * most), (one, truth)


def _near(found: Any, wanted: Matrix, what: str) -> None:
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.nanmax(np.abs(wanted), initial=0.0)))
    assert (~(np.abs(wanted) < MOST) | (np.abs(found - wanted) <= 1e-3 * scale)).all(), what
