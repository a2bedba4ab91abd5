"""Every function of the native core, called directly with crafted arrays: a right value, or an exception of ours.

Sound arguments stand in `cases`; a try puts crafted values in the place of one or two of them. What comes back is held
against what NumPy and SciPy find in double precision (`tests/faults/border_oracles.py`).
"""

from __future__ import annotations

import random
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken._core import cluster, codes, graph, skipgram, softmax, top, transitions, trie
from metatoken.errors import MetatokenError
from tests.faults import border_oracles as oracles
from tests.faults.crafting import crafted
from tests.faults.judging import Call, Found, in_processes, make_calls

if TYPE_CHECKING:
    pass

ROOM = 12 << 30  # bytes that a process may take: what needs more must be refused, not tried


@dataclass(frozen=True)
class Case:
    """A function of the core.

    Attributes:
        call: It, with its arguments by name.
        sound: Arguments that work.
        right: Whether what came back is right for the arguments; raises `AssertionError` where it is not.
    """

    call: Callable[..., object]
    sound: dict[str, Any]
    right: Callable[[dict[str, Any], Any], None]


def border(_: object, base: Path, folder: Path, tries: int) -> Found:
    """Makes calls in processes of their own."""
    return in_processes("tests.faults.border", base, folder, tries)


def all_calls(tries: int) -> list[Call]:
    """So many calls, one function after the other."""
    known = list(cases().items())
    return [_call(*known[number % len(known)], random.Random(number)) for number in range(tries)]  # noqa: S311


def _call(name: str, case: Case, rng: random.Random) -> Call:
    given = dict(case.sound)
    changed = rng.sample(list(given), rng.choice((1, 1, 2)) if len(given) > 1 else 1)
    for argument in changed:
        given[argument] = crafted(given[argument], rng)
    shown = ", ".join(f"{argument}={repr(given[argument])[:60]}" for argument in changed)
    return f"{name}({' '.join(shown.split())})", partial(_make, case, given)


def _make(case: Case, crafted_ones: dict[str, Any]) -> None:
    given = {name: _own(value) for name, value in crafted_ones.items()}
    try:
        gave = case.call(**given)
    except ValueError as error:  # ours, or of the border: a tuple of another length, a text that is none
        if isinstance(error, MetatokenError):
            raise
        return
    with np.errstate(all="ignore"):
        case.right(crafted_ones, (gave, given))


def _own(value: Any) -> Any:
    """An array that may be written to, as it is laid out."""
    plain = isinstance(value, np.ndarray) and value.flags.c_contiguous and value.flags.writeable and value.flags.aligned
    return value.copy() if plain else value


def cases() -> dict[str, Case]:
    """Every function of `python/metatoken/_core/*.pyi`."""
    return {**_cluster_cases(), **_graph_cases(), **_softmax_cases(), **_top_cases(), **_trie_cases()}


def _cluster_cases() -> dict[str, Case]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8)).astype(np.float32)
    words = [rng.normal(size=(k, 8)).astype(np.float32) for k in (6, 60)]
    fit = {"x": x, "levels": [6, 20], "method": "residual", "metric": "euclidean", "init": "k-means++", "seed": 0}
    fit |= {"max_iterations": 5, "sample": None, "max_cluster_size": None, "threads": 1, "kernel": None}
    fit |= {"progress": None}
    search = {"metric": "euclidean", "threads": 1, "kernel": None, "progress": None}
    nearest = codes.assign(x, words, "euclidean", 1, None, None)
    taken = {"occupied": np.array([[0, 1], [2, 3]], np.int32), "occupied_kinds": np.zeros(2, np.int64)}
    unique = {"x": x, "centroids": words, "nearest": nearest, "kinds": np.arange(300) % 2, **taken, **search}
    unique |= {"unique": "assignment", "max_cluster_size": None, "first": None}
    counts = np.bincount(nearest[:, 0], minlength=6)
    room = {"counts": counts, "unique": "assignment", "max_cluster_size": 55}
    first = {"x": x, "centroids": words, "nearest": nearest[:, 0].copy(), **room, **search}
    counter = unique | {"unique": "counter", "occupied": np.array([[0, 1, 0], [2, 3, 9]], np.int32)}
    return {
        "cluster.fit residual": Case(cluster.fit, fit, oracles.fitted),
        "cluster.fit tree": Case(cluster.fit, fit | {"method": "tree", "levels": [4, 8]}, oracles.fitted),
        "cluster.fit rank": Case(cluster.fit, fit | {"method": "flat+rank", "levels": [6, 200]}, oracles.fitted),
        "cluster.fit sample": Case(cluster.fit, fit | {"sample": 50, "metric": "cosine"}, oracles.fitted),
        "cluster.fit cap": Case(cluster.fit, fit | {"max_cluster_size": 51}, oracles.fitted),
        "cluster.linear_assignment": Case(
            cluster.linear_assignment, {"cost": rng.normal(size=(9, 12))}, oracles.assigned_columns
        ),
        "codes.assign": Case(codes.assign, {"x": x, "centroids": words, **search}, oracles.assigned),
        "codes.make_unique": Case(codes.make_unique, unique, oracles.made_unique),
        "codes.make_unique first": Case(
            codes.make_unique, unique | {"first": np.arange(300, dtype=np.int32) % 6}, oracles.made_unique
        ),
        "codes.contested": Case(codes.contested, {**room, "levels": [6, 60]}, oracles.contested),
        "codes.settle_first": Case(codes.settle_first, first, oracles.settled),
        "codes.make_unique counter": Case(codes.make_unique, counter, oracles.made_unique),
    }


def _graph_cases() -> dict[str, Case]:
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 20, 90).astype(np.int32), rng.integers(0, 12, 90).astype(np.int32)
    edges = ("user", "item", users, items, rng.random(90) + 0.1)
    types = [("user", 20), ("item", 12)]
    made = graph.Graph(types, [edges, ("item", "item", items[:-1], items[1:], None)])
    walk = {"graph": made, "meta_path": "user-item-user", "walk_length": 6}
    walks = {**walk, "walks_per_node": 3, "seed": 0, "threads": 1, "callback": None}
    given = rng.normal(size=(32, 8)).astype(np.float32)
    fit: dict[str, Any] = {"graph": made, "meta_paths": ["user-item-user", "item>item"], "dim": 8, "window": 3}
    fit |= {"negatives": 2, "walks_per_node": 2, "walk_length": 4, "epochs": 1, "seed": 0, "learning_rate": 0.05}
    fit |= {"min_learning_rate": 1e-4, "dynamic_window": True, "subsample": 0.0, "hogwild": False, "blocks": None}
    fit |= {"vectors": given, "contexts": None, "threads": 1, "callback": None}
    draws = {"weights": rng.random(20), "draws": 1000, "seed": 0}
    return {
        "graph.Graph": Case(graph.Graph, {"types": types, "edges": [edges]}, oracles.built),
        "Graph.check": Case(made.check, {"meta_path": "user-item-user"}, lambda *_: None),
        "graph.walks": Case(graph.walks, walks, oracles.walked),
        "graph.expected_visits": Case(graph.expected_visits, walk, oracles.visited),
        "skipgram.fit": Case(skipgram.fit, fit, oracles.trained),
        "skipgram.alias_frequencies": Case(skipgram.alias_frequencies, draws, oracles.drawn),
    }


def _softmax_cases() -> dict[str, Case]:
    rng = np.random.default_rng(2)
    states, vectors = rng.normal(size=(5, 12)).astype(np.float32), rng.normal(size=(40, 12)).astype(np.float32)
    both = {"states": states, "vectors": vectors, "bias": rng.normal(size=40).astype(np.float32)}
    weights = rng.random(5).astype(np.float32)
    slices = {"begin": np.array([0, 0, 5, 39, 7]), "end": np.array([40, 9, 9, 40, 7])}
    found = softmax.below(**both, **slices, threads=1)
    out = {"to_states": np.zeros_like(states), "to_vectors": np.zeros_like(vectors)}
    out |= {"to_bias": np.zeros(40, np.float32)}
    last = {"threads": 1, "kernel": None}
    return {
        "softmax.catalogue": Case(softmax.catalogue, both | {"weights": weights} | last, oracles.normalised),
        "softmax.below": Case(softmax.below, both | slices | last, oracles.normalised_below),
        "softmax.add_below": Case(
            softmax.add_below, both | slices | {"below": found, "weights": weights} | out | last, oracles.added
        ),
    }


def _top_cases() -> dict[str, Case]:
    rng = np.random.default_rng(4)
    scores = rng.integers(-9, 9, (3, 90)).astype(np.float32) / 4
    given = {"scores": scores, "offsets": np.array([0, 2, 2, 5]), "removed": np.array([3, 9, 0, 0, 89], np.int32)}
    steps = (np.arange(0, 31, 3), rng.integers(0, 10, 30).astype(np.int32), rng.random(30).astype(np.float32))
    starts = (np.array([0, 2, 2, 3]), np.array([4, 7, 1], np.int32), np.array([1.0, 0.6, 1.0], np.float32))
    walk = {"steps": steps, "starts": starts, "popularity": np.full(10, 0.1, np.float32)}
    walk |= {"second_hop": 0.5, "smoothing": 0.01}
    return {
        "top.best": Case(top.best, given | {"k": 7, "tolerance": 0.3, "share": None}, oracles.ranked),
        "top.best by share": Case(top.best, given | {"k": 7, "tolerance": None, "share": 0.2}, oracles.ranked),
        "top.best without ties": Case(top.best, given | {"k": 7}, oracles.ranked),
        "transitions.distributions": Case(transitions.distributions, walk, oracles.walked_twice),
    }


def _trie_cases() -> dict[str, Case]:
    rng = np.random.default_rng(3)
    rows = np.unique(rng.integers(0, 6, (60, 3)), axis=0).astype(np.int32)
    made = trie.Trie.from_codes(rows, 1, None)
    items, arrays = len(rows), made.arrays()
    first = arrays[1]
    beams = (np.array([0, 1, 3]), np.array([0, 1, 2], np.int32), np.array([0.0, -1.0, -2.0], np.float32))
    logits = (rng.normal(size=(3, 6)).astype(np.float32), None, np.full(3, 3.0, np.float32))
    prefix = np.arange(items + 1, dtype=np.int32)
    denied = np.array([3, 9], np.int32)
    filters = (np.array([0, 2, 2]), denied, np.array([True, True]), prefix)
    child = {"beams": beams, "logits": logits, "filters": filters, "found": np.zeros(2, np.int64), "k": 5, "width": 4}
    states, vectors = rng.normal(size=(2, 7)).astype(np.float32), rng.normal(size=(items, 7)).astype(np.float32)
    leaf = {"beams": beams, "states": states, "vectors": vectors, "filters": filters, "k": 5}
    assert first[0] == 1
    return {
        "Trie.from_codes": Case(trie.Trie.from_codes, {"codes": rows, "threads": 1, "progress": None}, oracles.indexed),
        "Trie.from_arrays": Case(trie.Trie.from_arrays, {"arrays": arrays, "depth": 3}, oracles.indexed_again),
        "Trie.best_children": Case(made.best_children, child, partial(oracles.children, made)),
        "Trie.best_leaves": Case(made.best_leaves, leaf, partial(oracles.leaves, made)),
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    make_calls(all_calls(int(sys.argv[2])), int(sys.argv[2]), int(sys.argv[3]))
