"""From a training log to vectors: the graph, its meta-paths and the skip-gram, with all their settings in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.encoding import Progress
from metatoken.tokens.graph.edges import EdgeWeights
from metatoken.tokens.graph.walks import Graph, column_links
from metatoken.tokens.vectors import skipgram
from metatoken.tokens.vectors.skipgram import META_PATHS, Embeddings

if TYPE_CHECKING:
    from metatoken.data import Interactions


@dataclass(frozen=True)
class WalkSettings:
    """Settings of graph, walks and skip-gram; the names are those of `Vocabulary.fit`."""

    meta_paths: Sequence[str] = META_PATHS
    edge_weights: EdgeWeights = "count"
    half_life: float | None = None
    restart: float = 0.0
    dim: int = 64
    walks_per_node: int = 10
    walk_length: int = 40
    window: int = 5
    negatives: int = 5
    epochs: int = 1
    hogwild: bool = False
    learning_rate: float = 0.05
    subsample: float = 0.0
    dynamic_window: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"meta_paths": list(self.meta_paths)}


def learn(
    train: Interactions,
    links: Mapping[str, Links],
    settings: WalkSettings,
    *,
    seed: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Embeddings:
    """Vectors of users and items from walks over their graph.

    Args:
        train: What may be learned from.
        links: Attributes of users and items, by node type.
        settings: What to walk, and how to learn.
        seed: Seed of every random choice.
        threads: Number of threads.
        progress: Called with (done, total).

    Raises:
        ArgumentError: The graph cannot walk a meta-path, or a setting does not fit the log.
    """
    paths = with_restart(settings.meta_paths, settings.restart)
    graph = Graph.from_interactions(
        train,
        attributes=links,
        edge_weights=settings.edge_weights,
        half_life=settings.half_life,
        order=any(mark in path for path in paths for mark in "<>"),
    )
    names = [graph.native.check(path) for path in paths]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ArgumentError("meta_paths", f"'{name}' is given twice; use share= for fewer walks on the others")
    return skipgram.fit(
        graph, paths, dim=settings.dim, window=settings.window, negatives=settings.negatives,
        walks_per_node=settings.walks_per_node, walk_length=settings.walk_length, epochs=settings.epochs, seed=seed,
        threads=threads, hogwild=settings.hogwild, learning_rate=settings.learning_rate, subsample=settings.subsample,
        dynamic_window=settings.dynamic_window, progress=progress,
    )  # fmt: skip


def with_restart(meta_paths: Sequence[str], restart: float) -> list[str]:
    """Meta-paths with a restart probability on those that have none of their own.

    Raises:
        ArgumentError: There is no path, or the probability is out of range.
    """
    if isinstance(meta_paths, str) or not meta_paths:
        raise ArgumentError("meta_paths", f"expected one or more meta-paths in a list, got {meta_paths!r}")
    if not 0 <= restart < 1:
        raise ArgumentError("restart", f"expected a probability from 0 to below 1, got {restart}")
    return [f"{path} restart={restart}" if restart and "restart=" not in path else path for path in meta_paths]


def attribute_links(train: Interactions, attributes: Mapping[str, str | Links] | None) -> dict[str, Links]:
    """Attributes as links; a name stands for a column of the item table.

    Raises:
        ArgumentError: The item table has no such column.
    """
    return {
        name: source if isinstance(source, Links) else column_links(train, name, source)
        for name, source in (attributes or {}).items()
    }


def described(attributes: Mapping[str, str | Links] | None) -> dict[str, Any]:
    """Attributes as JSON values, for the settings of a vocabulary."""
    return {
        name: {"kind": source.kind, "links": len(source), "values": len(source.names)}
        if isinstance(source, Links)
        else source
        for name, source in (attributes or {}).items()
    }
