"""How tokens are learned: every setting of it, declared once.

`Vocabulary.fit` takes the fields as arguments, the section `tokens` of a configuration as keys, `metatoken tokenize` as
options.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from metatoken.config import MOST, SettingError, Settings, setting, shown

Levels = Literal["auto"] | tuple[int, ...]
Method = Literal["residual", "tree", "flat+rank"]
Metric = Literal["euclidean", "cosine"]
Init = Literal["k-means++", "random"]
Unique = Literal["assignment", "nearest", "counter", "none"]
Kinds = Literal["joint", "apart", "items"]
EdgeWeights = Literal["count", "distinct", "rating", "recency", "position"]
Cold = Literal["none", "neighbours"]

FILES = ("item_links", "user_links", "item_features")  # fields that name files
MOST_LEVELS = 26  # the first part of a token's name is a letter

# Groups of fields; on the command line, panels of the help.
IDS, CLUSTERS, GRAPH = "Ids", "Clustering", "The graph that is walked"
WALKS, COLD = "Walks and embeddings", "Ids with few or no training edges"


def parse_levels(value: Any) -> Levels:
    """`"auto"`, or sizes of levels: a sequence of integers, or text such as `"256,64"`; else `ValueError`."""
    if isinstance(value, str) and value == "auto":
        return "auto"
    sizes: list[Any]
    try:
        sizes = [int(part) for part in value.split(",")] if isinstance(value, str) else list(value)
    except (TypeError, ValueError):
        sizes = []
    whole = all(isinstance(size, Integral) for size in sizes) and not any(isinstance(size, bool) for size in sizes)
    if not sizes or not whole or min(sizes) < 1:
        raise ValueError(f'expected "auto" or sizes of at least 1 such as [256, 64] or "256,64", got {shown(value)}')
    if max(sizes) > MOST:
        raise ValueError(f"expected sizes of at most {MOST}, got {shown(max(sizes))}")
    if len(sizes) > MOST_LEVELS:
        raise ValueError(f"expected at most {MOST_LEVELS} levels (a to z), got {len(sizes)}")
    return tuple(int(size) for size in sizes)


def parse_paths(value: Any) -> tuple[str, ...]:
    """One or more meta-paths; else `ValueError`."""
    paths = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    if not paths or not all(isinstance(path, str) for path in paths):
        raise ValueError(f"expected one or more meta-paths in a list, got {value!r}")
    return paths


@dataclass(frozen=True)
class TokenSettings(Settings):
    """Settings of the graph, its walks, the skip-gram over them, and the clustering of its vectors into ids."""

    levels: Levels = setting(
        "auto", 'Tokens of each level, e.g. "256,256"; "auto" counts users and items.', parse=parse_levels, group=IDS
    )
    method: Method = setting("residual", "residual, tree or flat+rank (the published scheme).", group=CLUSTERS)
    metric: Metric = setting("euclidean", "euclidean or cosine.", group=CLUSTERS)
    init: Init = setting("k-means++", "How k-means starts: k-means++ or random (rows).", group=CLUSTERS)
    max_iterations: int = setting(20, "Most updates of a k-means run.", ge=0, group=CLUSTERS)
    sample: int | None = setting(
        None,
        "Rows that a k-means run trains on; by default all, of more than 2^20 rows 256 for each token.",
        ge=1,
        size=False,
        group=CLUSTERS,
    )
    dim: int = setting(64, "Length of the embeddings.", ge=1, le=65536, group=WALKS)
    meta_paths: tuple[str, ...] = setting(
        ("user-item-user", "item-user-item"),
        "Repeatable, e.g. 'item>item share=0.5'; by default user-item-user and item-user-item.",
        parse=parse_paths, group=WALKS, option="--meta-path",
    )  # fmt: skip
    attributes: dict[str, str] = setting(
        {}, "TYPE=COLUMN of the item table: its values become nodes; repeatable.", group=GRAPH, option="--attribute",
        form="TYPE=COLUMN or TYPE",
    )  # fmt: skip
    item_links: dict[str, str] = setting(
        {}, "TYPE=FILE[:IDCOLUMN:COLUMN]: values of items in a file; repeatable.", group=GRAPH, form="TYPE=FILE"
    )
    user_links: dict[str, str] = setting({}, "The same of users; repeatable.", group=GRAPH, form="TYPE=FILE")
    edge_weights: EdgeWeights = setting("count", "count, distinct, rating, recency or position.", group=GRAPH)
    half_life: float | None = setting(
        None, "In which a weight halves: of recency in the unit of the times, of position in interactions.", gt=0,
        group=GRAPH,
    )  # fmt: skip
    restart: float = setting(
        0.0, "Chance that a walk goes back to its start.", ge=0, lt=1, noun="a probability", group=WALKS
    )
    walks_per_node: int = setting(10, "Walks from each node.", ge=1, group=WALKS)
    walk_length: int = setting(40, "Nodes in a walk.", ge=2, group=WALKS)
    window: int = setting(5, "Nodes to each side that count as near.", ge=1, group=WALKS)
    negatives: int = setting(5, "Noise nodes for each pair.", ge=1, le=31, group=WALKS)
    epochs: int = setting(1, "Passes over the walks, each with fresh ones.", ge=1, group=WALKS)
    hogwild: bool = setting(False, "Faster, but no two runs are the same.", group=WALKS)
    # 0.05 finds more held-out links on sparse logs than 0.025, as 0.1 does not.
    learning_rate: float = setting(0.05, "Learning rate at the start.", gt=0, le=1, group=WALKS)
    min_learning_rate: float = setting(0.0001, "Learning rate at the end of its linear fall.", ge=0, le=1, group=WALKS)
    subsample: float = setting(
        0.0,
        "Share of visits from which on nodes are left out by chance, e.g. 1e-3.",
        ge=0,
        lt=1,
        group=WALKS,
    )
    dynamic_window: bool = setting(True, "Draw the reach of each position from 1 to the window.", group=WALKS)
    blocks: int | None = setting(
        None,
        "Blocks of nodes that train apart, by default from their number; changes the result.",
        ge=1,
        le=64,
        group=WALKS,
    )
    cold: Cold = setting("none", "neighbours: their vectors are those of what they share; none.", group=COLD)
    min_edges: int = setting(0, "Ids with fewer training edges count as cold, too.", ge=0, size=False, group=COLD)
    item_features: str | None = setting(
        None, "A folder of text-vectors, FILE.parquet[:IDCOLUMN:COLUMN] or FILE.npy:IDS.txt to map to vectors.",
        group=COLD,
    )  # fmt: skip
    kinds: Kinds = setting(
        "joint", "joint: users and items share tokens; apart: each has its own; items: users get none.", group=IDS
    )
    unique: Unique = setting(
        "assignment", "Ids made unique by assignment, nearest or counter; none leaves them.", group=IDS
    )
    max_cluster_size: int | None = setting(
        None, "Most ids of a kind with the same first token; by default as many as there are codes below.", ge=1,
        size=False, group=CLUSTERS,
    )  # fmt: skip

    def check(self) -> None:
        """Refuses learning rates that grow."""
        if self.min_learning_rate > self.learning_rate:
            said = f"expected a number of at least 0 and at most learning_rate, got {self.min_learning_rate}"
            raise SettingError(("min_learning_rate",), said)

    @property
    def walked(self) -> list[str]:
        """The meta-paths, with `restart` on those that do not say their own."""
        restart = f" restart={self.restart}" if self.restart else ""
        return [path if "restart=" in path else f"{path}{restart}" for path in self.meta_paths]

    def recorded(self, *groups: str) -> dict[str, Any]:
        """All fields or those of some groups, as JSON values, without places of files: they change from day to day."""
        return {name: value for name, value in self.plain(*groups).items() if name not in FILES}
