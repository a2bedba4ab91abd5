"""The border of the native core, called behind the back of Python's checks; `border.py` tries thousands of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatoken import _core
from metatoken.errors import ArgumentError
from tests.faults.border import border, cases

CASES = cases()


def refused(name: str, named: str, **changed: Any) -> str:
    """What the core says of sound arguments but for some."""
    case = CASES[name]
    with pytest.raises(ArgumentError) as error:
        case.call(**case.sound | changed)
    assert error.value.argument == named
    return str(error.value)


@pytest.mark.parametrize("name", CASES)
def test_sound_arguments_give_what_double_precision_finds(name: str) -> None:
    case = CASES[name]
    given = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in case.sound.items()}
    case.right(dict(case.sound), (case.call(**given), given))


def test_crafted_arrays_and_numbers(tmp_path: Path) -> None:
    tries, wrong = border(None, tmp_path, tmp_path, 400)
    assert not wrong, "\n".join(wrong)
    assert tries == 400


@pytest.mark.parametrize("scale", [1e20, 3e38, 1e-30, 1e-44])
@pytest.mark.parametrize("name", ["residual", "tree", "rank", "cap"])
def test_vectors_whose_squares_float32_cannot_hold(name: str, scale: float) -> None:
    x = np.clip(CASES["cluster.fit tree"].sound["x"], -1, 1) * np.float32(scale)
    assert "multiply the vectors by 1e" in refused(f"cluster.fit {name}", "x", x=x)


def test_rows_and_codewords_without_squares() -> None:
    sound = CASES["codes.assign"].sound
    large, tiny = np.float32(1e17), np.float32(1e-30)
    words = sound["centroids"]
    for name in ("codes.assign", "codes.make_unique", "codes.settle_first"):
        refused(name, "x", x=sound["x"] * large)
        refused(name, "x", x=sound["x"] * tiny, centroids=[one * tiny for one in words])
        refused(name, "centroids", centroids=[words[0], words[1] * large])
        refused(name, "centroids", centroids=[words[0] * np.float32(np.nan), words[1]])


@pytest.mark.parametrize("threads", [0, -1, 1025, 1 << 40, 1 << 63, 10**400, -(10**400)])
@pytest.mark.parametrize(
    "name", ["cluster.fit tree", "codes.assign", "graph.walks", "softmax.below", "Trie.from_codes"]
)
def test_threads_are_bounded(name: str, threads: int) -> None:
    assert "expected an integer of at least 1 and at most 1024" in refused(name, "threads", threads=threads)


NUMBERS = {
    "cluster.fit tree": ("seed", "max_iterations", "sample", "max_cluster_size"),
    "codes.make_unique": ("max_cluster_size",),
    "codes.contested": ("max_cluster_size",),
    "codes.settle_first": ("max_cluster_size",),
    "graph.walks": ("seed", "walks_per_node", "walk_length"),
    "graph.expected_visits": ("walk_length",),
    "skipgram.fit": ("dim", "window", "negatives", "walks_per_node", "walk_length", "epochs", "seed", "blocks"),
    "skipgram.alias_frequencies": ("draws", "seed"),
    "Trie.from_arrays": ("depth",),
    "Trie.best_children": ("k", "width"),
    "Trie.best_leaves": ("k",),
}


@pytest.mark.parametrize(("name", "number"), [(name, one) for name, known in NUMBERS.items() for one in known])
@pytest.mark.parametrize("value", [-1, 1 << 63, 10**400, -(10**400)])
def test_numbers_out_of_range_are_named(name: str, number: str, value: int) -> None:
    blank = {"vectors": None} if name == "skipgram.fit" else {}  # given ones have the right width already
    assert f"{number}: expected an integer of at least" in refused(name, number, **blank, **{number: value})


BEYOND = [(1, 2_000_000_000, "walk_length"), (2**31 - 1, 2, "walks_per_node")]


@pytest.mark.parametrize(("walks", "length", "named"), BEYOND)
def test_walks_beyond_the_bound(walks: int, length: int, named: str) -> None:
    said = refused("graph.walks", named, walks_per_node=walks, walk_length=length)
    assert "at most 1048576" in said


def test_sizes_within_the_bounds_that_no_memory_holds() -> None:
    users, items = np.repeat(np.arange(50, dtype=np.int32), 2), np.tile(np.arange(2, dtype=np.int32), 50)
    graph = _core.graph.Graph([("user", 50), ("item", 2)], [("user", "item", users, items, None)])
    most = 1 << 20
    assert "more memory than there is" in refused(
        "graph.walks", "walk_length", graph=graph, walks_per_node=most, walk_length=most
    )
    assert "more memory than there is" in refused("cluster.fit residual", "levels", levels=[6, *[1 << 24] * 60])
    assert "pairs of one walk" in refused("skipgram.fit", "window", window=most, walk_length=most)
    refused("skipgram.fit", "epochs", epochs=most, walks_per_node=most)
    refused("skipgram.fit", "blocks", blocks=65)
    for counts in ((1, (1 << 64) - 1), (1, (1 << 63) - 1), (1 << 30, 1 << 30)):
        refused("graph.Graph", "n_items", types=list(zip(("user", "item"), counts, strict=True)))


def test_nothing_of_any_width_is_nothing() -> None:
    assert len(_core.cluster.linear_assignment(np.empty((0, 1 << 40)))) == 0
    refused("Trie.from_codes", "codes", codes=np.empty((0, 1 << 40), np.int32))
    assert len(_core.trie.Trie.from_codes(np.empty((0, 1 << 20), np.int32), 1, None).arrays()[4]) == 0


def test_all_items_may_be_asked_for() -> None:
    children, leaves = CASES["Trie.best_children"], CASES["Trie.best_leaves"]
    found = leaves.call(**leaves.sound | {"k": (1 << 63) - 1})
    assert isinstance(found, tuple)
    children.call(**children.sound | {"k": (1 << 63) - 1, "width": (1 << 63) - 1})
    children.call(**children.sound | {"found": np.full(2, (1 << 63) - 1)})


def test_lists_of_a_filter_that_are_none() -> None:
    sound = CASES["Trie.best_leaves"].sound
    offsets, _, inverted, prefix = sound["filters"]
    leaves = {
        "descending": [9, 3], "twice": [3, 3], "negative": [-1, 3], "beyond": [3, 1000],
    }  # fmt: skip
    for listed in leaves.values():
        refused("Trie.best_leaves", "filters", filters=(offsets, np.array(listed, np.int32), inverted, prefix))
    strange = np.frombuffer(b"\x02\x01", dtype=bool)
    refused("Trie.best_leaves", "filters", filters=(*sound["filters"][:2], strange, prefix))
    closed = prefix.copy()
    closed[4:] -= 1
    refused("Trie.best_leaves", "filters", filters=(*sound["filters"][:3], closed))
    refused("Trie.best_leaves", "filters", filters=(*sound["filters"][:3], prefix[::-1].copy()))


def test_a_logit_that_is_no_number_is_not_passed_over() -> None:
    sound = CASES["Trie.best_children"].sound
    values, *rest = sound["logits"]
    changed = values.copy()
    changed[0] = np.nan
    refused("Trie.best_children", "states", logits=(changed, *rest))


def test_values_of_a_graph_and_of_vectors() -> None:
    users, items = np.zeros(2, np.int32), np.arange(2, dtype=np.int32)
    edges = [("user", "item", users, items, np.full(2, 1e308))]
    assert "sum" in refused("graph.Graph", "weights", edges=edges)
    given = CASES["skipgram.fit"].sound["vectors"]
    for bad in (np.inf, 1e20):
        changed = given.copy()
        changed[3, 1] = bad
        refused("skipgram.fit", "initial", vectors=changed)
    refused("skipgram.fit", "meta_paths", meta_paths=[])
    for weights in ([1e308] * 10, [1e-320, 0.0], []):
        refused("skipgram.alias_frequencies", "weights", weights=np.array(weights))
    cost = np.array([[1e308, -1e308], [0.0, 1.0]])
    refused("cluster.linear_assignment", "cost", cost=cost)


def test_a_blank_of_several_bytes_before_an_option() -> None:
    check: Any = CASES["Graph.check"].call
    assert check("user-item-user\u3000share=0.5") == "user-item-user"


def test_arrays_that_are_lent_or_locked() -> None:
    case = CASES["softmax.add_below"]
    same, locked = case.sound["states"].copy(), np.zeros_like(case.sound["states"])
    locked.flags.writeable = False
    for changed in ({"states": same, "to_states": same}, {"to_states": locked}):
        with pytest.raises(TypeError):
            case.call(**case.sound | changed)


@pytest.mark.parametrize("place", range(6))
def test_an_array_of_an_index_that_claims_more_than_memory_holds(place: int) -> None:
    arrays = list(CASES["Trie.from_arrays"].sound["arrays"])
    arrays[place] = np.broadcast_to(np.zeros(1, np.int32), 1 << 45)
    assert "expected a C-contiguous array, as numpy.ascontiguousarray gives" in refused(
        "Trie.from_arrays", "arrays", arrays=arrays
    )


@pytest.mark.parametrize("name", ["Trie.best_children", "Trie.best_leaves"])
def test_truth_values_that_claim_more_than_anybody_reads(name: str) -> None:
    offsets, leaves, _, prefix = CASES[name].sound["filters"]
    endless = np.broadcast_to(np.ones(1, bool), 1 << 45)
    assert "expected a C-contiguous array" in refused(name, "filters", filters=(offsets, leaves, endless, prefix))


def test_long_values_are_shown_short() -> None:
    said = refused("cluster.fit tree", "levels", levels=[1] * 100_000 + ["x"])
    assert len(said) < 1100
    assert len(refused("graph.walks", "meta_paths", meta_path="user-" * 100_000)) < 1100
