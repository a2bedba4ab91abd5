"""Vectors of users and items by skip-gram with negative sampling over meta-path walks.

Walks are made and trained on in small shares, so nothing grows with their number. By default the result is the same,
byte for byte, for any number of threads: the nodes are split into blocks, and threads only ever train on blocks that
share no row. `hogwild=True` gives that up for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken._core import skipgram as core
from metatoken.bounds import check_words
from metatoken.config import expect
from metatoken.errors import ArgumentError
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.settings import WALKS, TokenSettings

if TYPE_CHECKING:
    from metatoken.data import Interactions
    from metatoken.data.links import Links


@dataclass(frozen=True)
class Embeddings:
    """Users and items in one space.

    Attributes:
        vectors: float32 `[n_entities, dim]`, users first; not normalised. Zero for rows without training.
        n_users: Number of users.
        n_items: Number of items.
        trained: Whether a walk visited the row, bool `[n_entities]`.
        attributes: Vectors of attribute values, float32 `[n_values, dim]`, in the order of `Graph.attributes`.
        contexts: Context vectors of all nodes, attribute values included, float32 `[n_nodes, dim]`, for a later
            `fit(..., initial_contexts=...)`; `None` where the vectors come from elsewhere.
        pairs: Number of (centre, context) pairs that were trained on.
    """

    vectors: NDArray[np.float32]
    n_users: int
    n_items: int
    trained: NDArray[np.bool_]
    attributes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    contexts: NDArray[np.float32] | None = None
    pairs: int = 0

    def __post_init__(self) -> None:
        """Check that the shapes agree."""
        rows = self.n_users + self.n_items
        if self.vectors.ndim != 2 or len(self.vectors) != rows:
            shape = list(self.vectors.shape)
            raise ArgumentError("vectors", f"expected [{rows}, dim] (users, then items), got {shape}")
        if self.trained.shape != (rows,):
            raise ArgumentError("trained", f"expected [{rows}], got {list(self.trained.shape)}")

    @property
    def users(self) -> NDArray[np.float32]:
        """Vectors of the users, `[n_users, dim]`, a view."""
        return self.vectors[: self.n_users]

    @property
    def items(self) -> NDArray[np.float32]:
        """Vectors of the items, `[n_items, dim]`, a view."""
        return self.vectors[self.n_users :]


def fit(
    graph: Graph,
    meta_paths: Sequence[str] | None = None,
    settings: TokenSettings | None = None,
    *,
    seed: int = 0,
    threads: int | None = None,
    initial: ArrayLike | None = None,
    initial_contexts: ArrayLike | None = None,
    progress: Callable[[int, int], None] | None = None,
    **fields: Any,
) -> Embeddings:
    """Train one vector per user and item (and attribute value) of a graph.

    Args:
        graph: The graph of the training edges.
        meta_paths: Paths to walk; each walk starts at every node of the path's first type.
        settings: Ready settings, of which those of walks and skip-gram count.
        seed: Seed of walks, windows, negatives and initial vectors.
        threads: Number of threads (`None`: all cores). Does not change the result.
        initial: Vectors to begin with, `[n_nodes, dim]` in node order (users, items, attribute values), such as those
            of an earlier fit with rows of NaN for nodes that are new: these begin at random.
        initial_contexts: The same for `Embeddings.contexts`; rows of NaN begin at zero. Warm vectors without their
            contexts lose part of what they learned before new contexts have grown.
        progress: Called with (walks done, walks in all).
        **fields: Single settings over the ready ones, such as `dim=64, window=5`. `epochs` makes fresh walks each time,
            so it equals as many times `walks_per_node`; more `blocks` let more threads work.

    Returns:
        Embeddings; nodes that no walk visits keep their initial vector, else have a zero one, and `trained` False.

    Raises:
        ArgumentError: The graph cannot walk a meta-path, a number is out of range, or initial rows have another shape
            or are not finite.
    """
    expect("graph", graph, Graph)
    check_words(seed=seed, threads=threads)
    if meta_paths is not None:
        fields["meta_paths"] = meta_paths
    chosen = TokenSettings.of(settings, fields, WALKS)
    shape = (graph.n_nodes, chosen.dim)
    vectors, contexts, trained, pairs = core.fit(
        graph.native,
        chosen.walked,
        **{name: value for name, value in chosen.plain(WALKS).items() if name not in ("meta_paths", "restart")},
        seed=seed,
        vectors=_given("initial", initial, shape),
        contexts=_given("initial_contexts", initial_contexts, shape),
        threads=threads,
        callback=progress,
    )
    rows, *ends = graph.offsets[2:].tolist()
    sizes = graph.attributes.items()
    attributes = {name: vectors[end - len(values) : end] for (name, values), end in zip(sizes, ends, strict=True)}
    return Embeddings(vectors[:rows], graph.n_users, graph.n_items, trained[:rows], attributes, contexts, pairs)


def learn(train: Interactions, links: Mapping[str, Links], settings: TokenSettings, **options: Any) -> Embeddings:
    """Vectors of users and items from walks over the graph of a log, with attributes by node type; options of `fit`.

    Raises:
        ArgumentError: The graph cannot walk a meta-path, or a setting does not fit the log.
    """
    graph = Graph.from_interactions(
        train,
        attributes=links,
        edge_weights=settings.edge_weights,
        half_life=settings.half_life,
        order=any(mark in path for path in settings.meta_paths for mark in "<>"),
    )
    names = [graph.native.check(path) for path in settings.walked]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ArgumentError("meta_paths", f"'{name}' is given twice; use share= for fewer walks on the others")
    return fit(graph, settings=settings, **options)


def _given(argument: str, rows: ArrayLike | None, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    if rows is None:
        return None
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            table = np.ascontiguousarray(rows, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(argument, f"expected rows of numbers ({error})") from error
    if table.shape != shape:
        raise ArgumentError(argument, f"expected {list(shape)} (one row per node), got {list(table.shape)}")
    blank = np.isnan(table).all(axis=1)
    if not np.isfinite(table[~blank]).all():
        raise ArgumentError(argument, "expected rows of finite numbers, or of nothing but NaN for a fresh start")
    return table
