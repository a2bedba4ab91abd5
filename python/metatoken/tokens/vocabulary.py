"""The vocabulary: users and items as tuples of shared tokens, `<a_17><b_3><c_201>`.

Ids are unique within a kind; a user and an item may have the same tuple, since sharing tokens is their purpose. Users
and items are sorted by raw id, so nothing depends on the order of the input; those of an extension stand behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metatoken.config import expect, expect_list
from metatoken.data.ids import IdMap
from metatoken.data.interactions import Interactions
from metatoken.data.links import Links
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.clustering import Codebook, Progress, Vectors
from metatoken.tokens.codes.encoding import encode_kinds, part_of, with_room
from metatoken.tokens.extension import extended
from metatoken.tokens.files import graph_links, read_features
from metatoken.tokens.fold_in import FoldIn
from metatoken.tokens.names import Kind, Names
from metatoken.tokens.settings import CLUSTERS, COLD, IDS, TokenSettings
from metatoken.tokens.storage import read_vocabulary, save_vocabulary
from metatoken.tokens.vectors.cold import GIVEN, NONE, WALKED, Filled, fill
from metatoken.tokens.vectors.matrix import read_matrix
from metatoken.tokens.vectors.skipgram import Embeddings, learn

if TYPE_CHECKING:
    from metatoken.data import Sequences


@dataclass(frozen=True, eq=False)
class Vocabulary(Names):
    """Names and vectors of users and items. Make one with `fit`, `from_embeddings` or `load`.

    Its first attributes are those of `Names`.

    Attributes:
        centroids: Centroid of each token, float32 `[n_tokens, dim]`.
        vectors: float32 `[n_entities, dim]`, users first. An id without any source of a vector has the mean of
            its kind.
        trained: Whether the row has a vector of its own (walked or given), bool `[n_entities]`.
        codebook: What assigns codes to vectors of items (and of users, unless clustered apart).
        user_codebook: What assigns codes to vectors of users.
        fold_in: Makes vectors of users who are known only by their items.
        titles: Title of each item row, `""` where unknown; `None` without titles.
        settings: Arguments of `fit`.
        report: Figures of the encoding, by codebook: `kept_share` (share of ids that kept their nearest code) and
            `error_before`, `error_after` (quantisation error before and after ids were made unique).
        source: Checksum of the log.
        learned_from: `Interactions.edges_checksum` of what it was learned from; tells a leaking vocabulary.
        origins: Where each vector came from, places in `cold.ORIGINS`, uint8 `[n_entities]`.
        n_targets: `Sequences.n_targets` of the histories that it was learned from; None where there were none, or
            where it was saved by 0.1.
        earlier: How many users, items and tokens there were before each extension, the first one first.
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
    n_targets: int | None = None
    earlier: tuple[tuple[int, int, int], ...] = ()

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
        settings: TokenSettings | None = None,
        *,
        seed: int = 0,
        threads: int | None = None,
        attributes: Mapping[str, str | Links] | None = None,
        embeddings: Embeddings | None = None,
        initial: ArrayLike | None = None,
        initial_contexts: ArrayLike | None = None,
        features: ArrayLike | None = None,
        source: str | None = None,
        progress: Progress | None = None,
        **fields: Any,
    ) -> Self:
        """Make a vocabulary from interactions: walks, skip-gram vectors, clusters, codes.

        Args:
            train: What may be learned from (never validation or test edges).
            settings: Ready settings; single fields go over them.
            seed: Seed of every random choice.
            threads: Number of threads (`None`: all cores); does not change the result.
            attributes: Attributes for the walks, in place of those of the settings: node type -> column of the item
                table, or `Links`.
            embeddings: Vectors to use in place of walks and skip-gram; users, then items, in the rows of `train`.
            initial: Vectors that skip-gram begins with, see `skipgram.fit`.
            initial_contexts: Context vectors for the same.
            features: Features of each item for those that are cold, `[n_items, f]`, in place of `item_features`; NaN
                rows have none.
            source: Checksum to record of the log that `train` is a part of (default: that of `train`).
            progress: Called with (done, total) over all stages.
            **fields: Fields of `metatoken.tokens.settings.TokenSettings`, such as `levels=[64, 64], dim=16`.

        Raises:
            ArgumentError: An argument is unknown or cannot be used.
            DataError: A file that a setting names cannot be read.
        """
        expect("train", train, Interactions)
        if attributes is not None:
            expect("attributes", attributes, Mapping)
            fields["attributes"] = {name: source for name, source in attributes.items() if isinstance(source, str)}
        settings = with_room(TokenSettings.of(settings, fields), train.n_users, train.n_items)
        links, given = graph_links(settings, train, attributes), embeddings is not None
        if features is None and settings.item_features is not None:
            features = read_features(settings.item_features, train.items)
        recorded = settings.recorded(IDS, CLUSTERS, COLD)
        if embeddings is None:
            kinds = {name: settings.attributes.get(name) or found.sizes() for name, found in links.items()}
            recorded = settings.recorded() | {"attributes": kinds}
            embeddings = learn(
                train, links, settings, seed=seed, threads=threads, initial=initial, initial_contexts=initial_contexts,
                progress=part_of(progress, 0, 10, 9),
            )  # fmt: skip
        filled = fill(embeddings, train, links, settings, features=features, given=given)
        with_users = settings.kinds != "items"
        return cls._encoded(
            train.users if with_users else IdMap((), "user"), train.items,
            filled if with_users else filled.after(train.n_users), settings, recorded,
            train.sequences(), titles=train.titles(), source=source or train.checksum(),
            learned_from=train.edges_checksum(), seed=seed, threads=threads, progress=part_of(progress, 9, 10),
        )  # fmt: skip

    @classmethod
    def from_embeddings(
        cls,
        ids: Sequence[str],
        x: Vectors,
        levels: Any = TokenSettings.levels,
        *,
        settings: TokenSettings | None = None,
        titles: Sequence[str] | None = None,
        seed: int = 0,
        threads: int | None = None,
        progress: Progress | None = None,
        **fields: Any,
    ) -> Self:
        """Make a vocabulary of items from your own vectors; it has no users. Other arguments as in `fit`.

        `x` are finite real numbers `[len(ids), dim]` in any form that `clustering.fit` takes; each raw id stands once.
        Ready settings take the place of `levels`; fields are those about ids and clustering.

        Raises:
            ArgumentError: Ids repeat, an argument is unknown, or shapes or values cannot be used.
        """
        rows = read_matrix(x).whole()
        if len(rows) == 0:
            raise ArgumentError("x", "expected at least one row, got none")
        for name, values in (("ids", ids), ("titles", titles)):
            if values is not None and len(expect_list(name, values, "texts")) != len(rows):
                raise ArgumentError(name, f"expected one for each of the {len(rows)} rows of x, got {len(values)}")
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            raise ArgumentError("x", f"row {int(np.argmin(finite))} has a value that is not finite in float32")
        order = sorted(range(len(ids)), key=lambda row: str(ids[row]))
        given = np.full(len(ids), GIVEN, np.uint8)
        filled = Filled(np.ascontiguousarray(rows[order]), np.ones(len(ids), bool), given, {})
        chosen = TokenSettings.of(settings, fields if settings else {"levels": levels} | fields, IDS, CLUSTERS)
        return cls._encoded(
            IdMap((), "user"), IdMap((ids[row] for row in order), "item"), filled, chosen,
            chosen.recorded(IDS, CLUSTERS) | {"kinds": "joint"}, seed=seed, threads=threads, progress=progress,
            titles=None if titles is None else [titles[row] for row in order],
        )  # fmt: skip

    @classmethod
    def _encoded(
        cls,
        users: IdMap,
        items: IdMap,
        filled: Filled,
        settings: TokenSettings,
        recorded: dict[str, Any],
        sequences: Sequences | None = None,
        *,
        seed: int,
        threads: int | None,
        progress: Progress | None,
        **others: Any,
    ) -> Self:
        """The vocabulary of vectors; `sequences` of users fit the fold-in map."""
        vectors, trained, origins, figures = filled
        n = len(users)
        coding = encode_kinds(vectors, trained, n, settings, seed=seed, threads=threads, progress=progress)
        if sequences is None or n == 0:
            fold_in = FoldIn.identity(vectors, trained)
        else:
            fold_in = FoldIn.fit(sequences, vectors[:n], vectors[n:], trained[:n], trained[n:])
        parts = vars(coding) | {"report": coding.report | ({"features": figures} if figures else {})}
        return cls(
            users=users, items=items, vectors=vectors, trained=trained, origins=origins, fold_in=fold_in,
            settings=recorded | {"seed": seed}, n_targets=None if sequences is None else sequences.n_targets,
            **parts, **others,
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: The folder is not a vocabulary, a file is missing or altered, or a newer version wrote it.
        """
        return cls(**read_vocabulary(Path(path)))

    def save(self, path: str | Path, *, scores: Mapping[str, Any] | None = None) -> None:
        """Write the vocabulary as a folder, over an older one; the same vocabulary gives the same bytes.

        `Scores.to_dict()` may be kept beside it, in `scores.json`.

        Raises:
            ArtifactError: `path` is something else than a vocabulary.
        """
        save_vocabulary(self, Path(path), scores)

    def extend(self, train: Interactions, *, features: ArrayLike | None = None, threads: int | None = None) -> Self:
        """The vocabulary with the users and items that a log has more; what it has keeps its rows, tokens and bytes.

        `docs/growth.md` says what new ids get. `report["extension"]` of the result says of how many: `users` and
        `items` by the origin of their vectors, `kept_share` (share of new ids with their nearest codes), and `tokens`
        that were appended.

        Args:
            train: What may be learned from: the log of this vocabulary with others behind it (`Interactions.append`).
            features: Features of each item of `train`, `[n_items, f]`, in place of the categories and attributes of its
                item table; NaN rows have none.
            threads: Number of threads (`None`: all cores); does not change the result.

        Raises:
            ArgumentError: The first users or items of `train` are not those of the vocabulary, or features do not fit.
        """
        return replace(self, **extended(self, train, features=features, threads=threads))

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def n_learned_tokens(self) -> int:
        """Number of tokens that were learned; those behind were appended by extensions."""
        return self.earlier[0][2] if self.earlier else self.n_tokens

    @property
    def user_vectors(self) -> NDArray[np.float32]:
        """Vectors of the users, `[n_users, dim]`, a view."""
        return self.vectors[self.nodes("user")]

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """Vectors of the items, `[n_items, dim]`, a view."""
        return self.vectors[self.nodes("item")]

    def composed(self, kind: Kind) -> NDArray[np.float32]:
        """Sum of the centroids of the tokens of each id of a kind, float32 `[n, dim]`."""
        tokens = self.user_tokens if kind == "user" else self.item_tokens
        total = np.zeros((len(tokens), self.dim), np.float32)
        for column in tokens.T:
            total += np.where(column[:, None] >= 0, self.centroids[column], np.float32(0))
        return total

    def user_codes_of(self, sequences: Sequences, *, threads: int | None = None) -> NDArray[np.int32]:
        """Codes of users who are known only by their item rows; several users may get the same.

        A user without a trained item gets the codes of the mean user.

        Returns:
            int32 `[len(sequences), depth]`, padded with -1.
        """
        x = self.fold_in(sequences, self.item_vectors, self.trained[self.nodes("item")])
        codes = self.user_codebook.assign(x, threads=threads)
        if self.user_codebook is not self.codebook:
            codes = codes + np.array(self.codebook.levels[: codes.shape[1]], np.int32)
        return np.pad(codes, ((0, 0), (0, self.depth - codes.shape[1])), constant_values=-1)
