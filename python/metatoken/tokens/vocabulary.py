"""The vocabulary: users and items as tuples of shared tokens, `<a_17><b_3><c_201>`.

Ids are unique within a kind; a user and an item may have the same tuple, since sharing tokens is their purpose. Users
and items are sorted by raw id, so nothing depends on the order of the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken.data.ids import IdMap
from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.clustering import Codebook, Method, Metric, Unique, Vectors
from metatoken.tokens.codes.encoding import Kinds, Progress, encode_kinds, part_of
from metatoken.tokens.fold_in import FoldIn
from metatoken.tokens.graph.edges import EdgeWeights
from metatoken.tokens.names import Kind, Names
from metatoken.tokens.storage import read_vocabulary, save_vocabulary
from metatoken.tokens.vectors import cold as filling
from metatoken.tokens.vectors.cold import GIVEN, NONE, WALKED, Cold
from metatoken.tokens.vectors.learn import WalkSettings, attribute_links, described, learn
from metatoken.tokens.vectors.matrix import read_matrix
from metatoken.tokens.vectors.skipgram import META_PATHS, Embeddings

if TYPE_CHECKING:
    from metatoken.data import Interactions, Sequences

Levels = Sequence[int] | Literal["auto"]


@dataclass(frozen=True, eq=False)
class Vocabulary(Names):
    """Names and vectors of users and items. Make one with `fit`, `from_embeddings` or `load`.

    Its first attributes are those of `Names`.

    Attributes:
        centroids: Centroid of each token, float32 `[n_tokens, dim]`.
        vectors: float32 `[n_users + n_items, dim]`, users first. An id without any source of a vector has the mean of
            its kind.
        trained: Whether the row has a vector of its own (walked or given), bool `[n_users + n_items]`.
        codebook: What assigns codes to vectors of items (and of users, unless clustered apart).
        user_codebook: What assigns codes to vectors of users.
        fold_in: Makes vectors of users who are known only by their items.
        titles: Title of each item row, `""` where unknown; `None` without titles.
        settings: Arguments of `fit`.
        report: Figures of the encoding, by codebook: `kept_share` (share of ids that kept their nearest code) and
            `error_before`, `error_after` (quantisation error before and after ids were made unique).
        source: Checksum of the log.
        learned_from: `Interactions.edges_checksum` of what it was learned from; tells a leaking vocabulary.
        origins: Where each vector came from, places in `cold.ORIGINS`, uint8 `[n_users + n_items]`.
    """

    centroids: NDArray[np.float32]
    vectors: NDArray[np.float32]
    trained: NDArray[np.bool_]
    codebook: Codebook
    user_codebook: Codebook
    fold_in: FoldIn
    titles: list[str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    learned_from: str | None = None
    origins: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __post_init__(self) -> None:
        """Without origins (before schema 2), a vector is walked or there is none."""
        if len(self.origins) != len(self.trained):
            object.__setattr__(self, "origins", np.where(self.trained, WALKED, NONE).astype(np.uint8))

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.levels))
        return f"Vocabulary({self.n_users:,} users, {self.n_items:,} items, {sizes} tokens, dim {self.dim})"

    @classmethod
    def fit(
        cls,
        train: Interactions,
        *,
        levels: Levels = "auto",
        method: Method = "residual",
        metric: Metric = "euclidean",
        dim: int = 64,
        seed: int = 0,
        threads: int | None = None,
        meta_paths: Sequence[str] = META_PATHS,
        attributes: Mapping[str, str | Links] | None = None,
        edge_weights: EdgeWeights = "count",
        half_life: float | None = None,
        restart: float = 0.0,
        walks_per_node: int = 10,
        walk_length: int = 40,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 1,
        hogwild: bool = False,
        learning_rate: float = 0.05,
        subsample: float = 0.0,
        dynamic_window: bool = True,
        kinds: Kinds = "joint",
        unique: Unique = "assignment",
        max_cluster_size: int | None = None,
        embeddings: Embeddings | None = None,
        cold: Cold = "none",
        min_edges: int = 0,
        features: ArrayLike | None = None,
        source: str | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Make a vocabulary from interactions: walks, skip-gram vectors, clusters, codes.

        Args:
            train: What may be learned from (never validation or test edges).
            levels: Tokens of each level, or `"auto"`: room for at least twice the ids of each kind.
            method: `"residual"`, `"tree"` or `"flat+rank"` (see `clustering.fit`).
            metric: `"euclidean"` or `"cosine"`.
            dim: Length of a vector.
            seed: Seed of every random choice.
            threads: Number of threads (`None`: all cores). Does not change the result.
            meta_paths: Paths of the walks, with options such as `share=0.5` (see `walks`).
            attributes: Attributes for the walks: node type -> column of the item table, or `Links`.
            edge_weights: What an interaction weighs (see `Graph.from_interactions`).
            half_life: Of `edge_weights` "recency" and "position".
            restart: Chance that a walk goes back to its start, on paths that do not say their own.
            walks_per_node: Walks from each start node in an epoch.
            walk_length: Nodes in a walk.
            window: Largest distance of a pair in a walk.
            negatives: Random nodes for each pair.
            epochs: Passes of skip-gram.
            hogwild: Faster skip-gram whose result differs at every run.
            learning_rate: Of skip-gram at its start.
            subsample: Share of visits from which on a node is left out of walks by chance (see `skipgram.fit`).
            dynamic_window: Draw the reach of each position from `1..window`.
            kinds: `"joint"`: users and items share tokens; `"apart"`: each kind has its own; `"items"`: users get none.
            unique: How ids become unique within a kind: `"assignment"`, `"nearest"`, `"counter"`, or `"none"`.
            max_cluster_size: Most ids of a kind with the same first token; by default as many as there are codes below.
            embeddings: Vectors to use in place of walks and skip-gram; users, then items, in the rows of `train`.
            cold: `"neighbours"` gives ids without a vector that of their neighbours (see `cold.fill`).
            min_edges: Ids with fewer training interactions are cold, too.
            features: Features of each item for those that are cold, `[n_items, f]`; NaN rows have none.
            source: Checksum to record of the log that `train` is a part of (default: that of `train`).
            progress: Called with (done, total) over all stages.

        Raises:
            ArgumentError: An argument cannot be used.
        """
        if kinds not in ("joint", "apart", "items"):
            raise ArgumentError("kinds", f"expected 'joint', 'apart' or 'items', got {kinds!r}")
        clusters: dict[str, Any] = {"method": method, "metric": metric, "seed": seed}
        settings: dict[str, Any] = {
            "levels": levels if levels == "auto" else list(levels), "kinds": kinds, "unique": unique,
            "max_cluster_size": max_cluster_size, "cold": cold, "min_edges": min_edges, **clusters,
        }  # fmt: skip
        links, given = attribute_links(train, attributes), embeddings is not None
        if embeddings is None:
            walks = WalkSettings(
                meta_paths, edge_weights, half_life, restart, dim, walks_per_node, walk_length, window, negatives,
                epochs, hogwild, learning_rate, subsample, dynamic_window,
            )  # fmt: skip
            settings |= {"attributes": described(attributes), **walks.to_dict()}
            embeddings = learn(train, links, walks, seed=seed, threads=threads, progress=part_of(progress, 0, 10, 9))
        elif (embeddings.n_users, embeddings.n_items) != (train.n_users, train.n_items):
            found = f"{embeddings.n_users} users and {embeddings.n_items} items"
            raise ArgumentError("embeddings", f"expected {train.n_users} users and {train.n_items} items, got {found}")
        filled = filling.fill(embeddings, train, links, cold=cold, min_edges=min_edges, features=features, given=given)
        first = train.n_users if kinds == "items" else 0
        vectors, trained, origins = filled.vectors[first:], filled.trained[first:], filled.origins[first:]
        n = train.n_users - first
        coding = encode_kinds(
            vectors, trained, n, levels=levels, kinds="joint" if kinds == "items" else kinds, unique=unique,
            max_cluster_size=max_cluster_size, threads=threads, progress=part_of(progress, 9, 10), **clusters,
        )  # fmt: skip
        if n:
            fold_in = FoldIn.fit(train.sequences(), vectors[:n], vectors[n:], trained[:n], trained[n:])
        else:
            fold_in = FoldIn.identity(vectors, trained)
        parts = vars(coding) | {"report": coding.report | ({"features": filled.report} if filled.report else {})}
        return cls(
            users=IdMap((), "user") if kinds == "items" else train.users, items=train.items, vectors=vectors,
            trained=trained, origins=origins, fold_in=fold_in, titles=train.titles(), settings=settings,
            source=source or train.checksum(), learned_from=train.edges_checksum(), **parts,
        )  # fmt: skip

    @classmethod
    def from_embeddings(
        cls,
        ids: Sequence[str],
        x: Vectors,
        levels: Levels = "auto",
        *,
        titles: Sequence[str] | None = None,
        method: Method = "residual",
        metric: Metric = "euclidean",
        seed: int = 0,
        threads: int | None = None,
        unique: Unique = "assignment",
        max_cluster_size: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Make a vocabulary of items from your own vectors; it has no users.

        Args:
            ids: Raw id of each row, each once.
            x: Vectors, finite real numbers `[len(ids), dim]` in any form that `clustering.fit` takes.
            levels: Tokens of each level, or `"auto"`.
            titles: Title of each row.
            method: See `fit`, also for the arguments below.
            metric: See `fit`.
            seed: See `fit`.
            threads: See `fit`.
            unique: See `fit`.
            max_cluster_size: See `fit`.
            progress: Called with (done, total).

        Raises:
            ArgumentError: Ids repeat, or shapes or values cannot be used.
        """
        rows = read_matrix(x).whole()
        if len(rows) == 0:
            raise ArgumentError("x", "expected at least one row, got none")
        for name, values in (("ids", ids), ("titles", titles)):
            if values is not None and len(values) != len(rows):
                raise ArgumentError(name, f"expected one for each of the {len(rows)} rows of x, got {len(values)}")
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            raise ArgumentError("x", f"row {int(np.argmin(finite))} has a value that is not finite in float32")
        order = sorted(range(len(ids)), key=lambda row: str(ids[row]))
        items = IdMap((ids[row] for row in order), "item")
        vectors, trained = np.ascontiguousarray(rows[order]), np.ones(len(ids), bool)
        settings: dict[str, Any] = {"method": method, "metric": metric, "seed": seed}
        coding = encode_kinds(
            vectors,
            trained,
            0,
            levels=levels,
            kinds="joint",
            unique=unique,
            max_cluster_size=max_cluster_size,
            threads=threads,
            progress=progress,
            **settings,
        )
        settings |= {"levels": levels if levels == "auto" else list(levels), "kinds": "joint", "unique": unique}
        settings["max_cluster_size"] = max_cluster_size
        titles = None if titles is None else [titles[row] for row in order]
        return cls(
            users=IdMap((), "user"), items=items, vectors=vectors, trained=trained, titles=titles, settings=settings,
            fold_in=FoldIn.identity(vectors, trained), origins=np.full(len(ids), GIVEN, np.uint8), **vars(coding),
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: The folder is not a vocabulary, a file is missing or altered, or a newer version wrote it.
        """
        return cls(**read_vocabulary(Path(path)))

    def save(self, path: str | Path, *, scores: Mapping[str, Any] | None = None) -> None:
        """Write the vocabulary as a folder; the same vocabulary gives the same bytes.

        Args:
            path: The folder; an older vocabulary there is replaced.
            scores: `Scores.to_dict()`, to be kept beside it in `scores.json`.

        Raises:
            ArtifactError: `path` is something else than a vocabulary.
        """
        save_vocabulary(self, Path(path), scores)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def user_vectors(self) -> NDArray[np.float32]:
        """Vectors of the users, `[n_users, dim]`, a view."""
        return self.vectors[: self.n_users]

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """Vectors of the items, `[n_items, dim]`, a view."""
        return self.vectors[self.n_users :]

    def composed(self, kind: Kind) -> NDArray[np.float32]:
        """Sum of the centroids of the tokens of each id of a kind, float32 `[n, dim]`."""
        tokens = self.user_tokens if kind == "user" else self.item_tokens
        total = np.zeros((len(tokens), self.dim), np.float32)
        for column in tokens.T:
            total += np.where(column[:, None] >= 0, self.centroids[column], np.float32(0))
        return total

    def user_codes_of(self, sequences: Sequences, *, threads: int | None = None) -> NDArray[np.int32]:
        """Codes of users who are known only by their items; several users may get the same.

        Args:
            sequences: Item rows of each user. A user without a trained item gets the codes of the mean user.
            threads: Number of threads; does not change the result.

        Returns:
            int32 `[len(sequences), depth]`, padded with -1.
        """
        x = self.fold_in(sequences, self.vectors[self.n_users :], self.trained[self.n_users :])
        codes = self.user_codebook.assign(x, threads=threads)
        if self.user_codebook is not self.codebook:
            codes = codes + np.array(self.codebook.levels[: codes.shape[1]], np.int32)
        return np.pad(codes, ((0, 0), (0, self.depth - codes.shape[1])), constant_values=-1)
