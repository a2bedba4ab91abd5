"""From a training log to vectors: the graph, its meta-paths and the skip-gram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.settings import TokenSettings
from metatoken.tokens.vectors import skipgram
from metatoken.tokens.vectors.skipgram import Embeddings

if TYPE_CHECKING:
    from metatoken.data import Interactions


def learn(train: Interactions, links: Mapping[str, Links], settings: TokenSettings, **options: Any) -> Embeddings:
    """Vectors of users and items from walks over their graph, with attributes by node type; options of `skipgram.fit`.

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
    return skipgram.fit(graph, settings=settings, **options)


def described(settings: TokenSettings, links: Mapping[str, Links]) -> dict[str, Any]:
    """The links of a graph as JSON values, for the settings of a vocabulary; not where their files were."""
    found = {
        name: settings.attributes.get(name) or {"kind": source.kind, "links": len(source), "values": len(source.names)}
        for name, source in links.items()
    }
    return {"attributes": found}
