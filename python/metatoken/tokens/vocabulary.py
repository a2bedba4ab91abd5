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
from numpy.typing import NDArray

from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError
from metatoken.tokens import skipgram
from metatoken.tokens.clustering import Codebook, Method, Metric, Unique, Vectors
from metatoken.tokens.encoding import Kinds, Progress, encode_kinds, part_of
from metatoken.tokens.fold_in import FoldIn
from metatoken.tokens.matrix import read_matrix
from metatoken.tokens.names import Kind, Names
from metatoken.tokens.skipgram import META_PATHS, Embeddings
from metatoken.tokens.storage import read_vocabulary, save_vocabulary
from metatoken.tokens.walks import Graph

if TYPE_CHECKING:
    from metatoken.data import Interactions, Sequences

Levels = Sequence[int] | Literal["auto"]


@dataclass(frozen=True, eq=False)
class Vocabulary(Names):
    """Names and vectors of users and items. Make one with `fit`, `from_embeddings` or `load`.

    Its first attributes are those of `Names`.

    Attributes:
        centroids: Centroid of each token, float32 `[n_tokens, dim]`.
        vectors: float32 `[n_users + n_items, dim]`, users first. An id without training edges has the mean vector of
            its kind.
        trained: Whether the row has a vector of its own, bool `[n_users + n_items]`.
        codebook: What assigns codes to vectors of items (and of users, unless clustered apart).
        user_codebook: What assigns codes to vectors of users.
        fold_in: Makes vectors of users who are known only by their items.
        titles: Title of each item row, `""` where unknown; `None` without titles.
        settings: Arguments of `fit`.
        report: Figures of the encoding, by codebook: `kept_share` (share of ids that kept their nearest code) and
            `error_before`, `error_after` (quantisation error before and after ids were made unique).
        source: Checksum of the log.
        learned_from: `Interactions.edges_checksum` of what it was learned from; tells a leaking vocabulary.
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
        attributes: Mapping[str, str] | None = None,
        walks_per_node: int = 10,
        walk_length: int = 40,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 1,
        hogwild: bool = False,
        kinds: Kinds = "joint",
        unique: Unique = "assignment",
        max_cluster_size: int | None = None,
        embeddings: Embeddings | None = None,
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
            meta_paths: Paths of the walks.
            attributes: Item attributes for the walks: node type -> column of the item table.
            walks_per_node: Walks from each start node in an epoch.
            walk_length: Nodes in a walk.
            window: Largest distance of a pair in a walk.
            negatives: Random nodes for each pair.
            epochs: Passes of skip-gram.
            hogwild: Faster skip-gram whose result differs at every run.
            kinds: `"joint"`: users and items share tokens; `"apart"`: each kind has its own.
            unique: How ids become unique within a kind: `"assignment"`, `"nearest"`, `"counter"`, or `"none"`.
            max_cluster_size: Most ids of a kind with the same first token; by default as many as there are codes below.
            embeddings: Vectors to use in place of walks and skip-gram; users, then items, in the rows of `train`.
            source: Checksum to record of the log that `train` is a part of (default: that of `train`).
            progress: Called with (done, total) over all stages.

        Raises:
            ArgumentError: An argument cannot be used.
        """
        if kinds not in ("joint", "apart"):
            raise ArgumentError("kinds", f"expected 'joint' or 'apart', got {kinds!r}")
        clusters: dict[str, Any] = {"method": method, "metric": metric, "seed": seed}
        walks: dict[str, Any] = {
            "dim": dim, "window": window, "negatives": negatives, "walks_per_node": walks_per_node,
            "walk_length": walk_length, "epochs": epochs, "hogwild": hogwild,
        }  # fmt: skip
        settings: dict[str, Any] = {
            "levels": levels if levels == "auto" else list(levels),
            "kinds": kinds,
            "unique": unique,
            "max_cluster_size": max_cluster_size,
            **clusters,
        }
        if embeddings is None:
            settings |= {"meta_paths": list(meta_paths), "attributes": dict(attributes or {}), **walks}
            graph = Graph.from_interactions(train, attributes=attributes)
            embeddings = skipgram.fit(
                graph, meta_paths, seed=seed, threads=threads, progress=part_of(progress, 0, 10, 9), **walks
            )
        elif (embeddings.n_users, embeddings.n_items) != (train.n_users, train.n_items):
            found = f"{embeddings.n_users} users and {embeddings.n_items} items"
            raise ArgumentError("embeddings", f"expected {train.n_users} users and {train.n_items} items, got {found}")
        vectors = _fill_untrained(embeddings)
        n = embeddings.n_users
        coding = encode_kinds(
            vectors, embeddings.trained, n, levels=levels, kinds=kinds, unique=unique,
            max_cluster_size=max_cluster_size, threads=threads, progress=part_of(progress, 9, 10), **clusters,
        )  # fmt: skip
        trained = embeddings.trained
        fold_in = FoldIn.fit(train.sequences(), vectors[:n], vectors[n:], trained[:n], trained[n:])
        return cls(
            users=train.users, items=train.items, vectors=vectors, trained=trained, fold_in=fold_in,
            titles=train.titles(), settings=settings, source=source or train.checksum(),
            learned_from=train.edges_checksum(), **vars(coding),
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
            fold_in=FoldIn.identity(vectors, trained), **vars(coding),
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


def _fill_untrained(embeddings: Embeddings) -> NDArray[np.float32]:
    """Vectors in which a row without training has the mean of the trained rows of its kind (or of all)."""
    vectors, trained = embeddings.vectors.copy(), embeddings.trained
    if not trained.any():
        raise ArgumentError("embeddings", "no user or item has a vector; the training log has no edge to walk")
    everyone = vectors[trained].mean(axis=0, dtype=np.float64)
    for rows in (slice(0, embeddings.n_users), slice(embeddings.n_users, None)):
        own, known = vectors[rows], trained[rows]
        own[~known] = own[known].mean(axis=0, dtype=np.float64) if known.any() else everyone
    return vectors
