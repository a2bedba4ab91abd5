"""A vocabulary with more users and items: every new row stands behind the old ones, and no old byte changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.config import expect
from metatoken.data.interactions import Interactions
from metatoken.errors import ArgumentError
from metatoken.tokens.codes.placement import Placed, Shelf, count_on
from metatoken.tokens.vectors.cold import GIVEN, WALKED, count_origins
from metatoken.tokens.vectors.matrix import check_scale
from metatoken.tokens.vectors.newcomers import Newcomers, attribute_features, new_items, new_users

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from metatoken.tokens.names import Kind
    from metatoken.tokens.vocabulary import Vocabulary

    Float32 = NDArray[np.float32]


def extended(
    vocabulary: Vocabulary, train: Interactions, *, features: ArrayLike | None, threads: int | None
) -> dict[str, Any]:
    """Fields of the extended vocabulary that differ; see `Vocabulary.extend`."""
    expect("train", train, Interactions)
    _check_rows(vocabulary, train)
    old_users, old_items = vocabulary.n_users, vocabulary.n_items
    users = train.users if old_users else vocabulary.users
    histories, known = train.sequences(), vocabulary.trained[vocabulary.nodes("item")]
    features = _features(vocabulary, train, features)
    item = new_items(vocabulary.item_vectors, known, histories, train.n_items, features)
    items = np.concatenate([vocabulary.item_vectors, item.vectors])
    later = histories.take(np.arange(old_users, len(users)))
    user = new_users(vocabulary.fold_in, later, items, np.pad(known, (0, len(item.vectors))))
    origins = [vocabulary.origins[:old_users], user.origins, vocabulary.origins[old_users:], item.origins]
    return {
        "users": users,
        "items": train.items,
        "vectors": np.concatenate([vocabulary.user_vectors, user.vectors, items]),
        "trained": np.isin(np.concatenate(origins), (WALKED, GIVEN)),
        "origins": np.concatenate(origins),
        "titles": train.titles() or (vocabulary.titles and [*vocabulary.titles, *[""] * len(item.vectors)]),
        "source": train.checksum(),
        "learned_from": train.edges_checksum(),
        "n_targets": histories.n_targets,
        "earlier": (*vocabulary.earlier, (old_users, old_items, vocabulary.n_tokens)),
        **_coded(vocabulary, item, user, threads),
    }


def _coded(vocabulary: Vocabulary, item: Newcomers, user: Newcomers, threads: int | None) -> dict[str, Any]:
    """Codes, tokens and report; items are placed before users."""
    coding = _Coding(vocabulary)
    items, users = coding.place("item", item.vectors, threads), coding.place("user", user.vectors, threads)
    nearest = np.concatenate([items.nearest, users.nearest])
    found = {
        "kept_share": float(nearest.mean()) if len(nearest) else 1.0,
        "tokens": sum(coding.levels) - vocabulary.n_tokens,
        **count_origins(np.concatenate([user.origins, item.origins]), len(user.origins)),
    }
    return {
        "user_codes": np.concatenate([vocabulary.user_codes, users.codes]),
        "item_codes": np.concatenate([vocabulary.item_codes, items.codes]),
        "levels": tuple(coding.levels),
        "centroids": coding.centroids,
        "report": {**vocabulary.report, "extension": found},
    }


def _check_rows(vocabulary: Vocabulary, train: Interactions) -> None:
    """Refuses a log whose first users or items are not those of the vocabulary: `ArgumentError`."""
    for known, given in ((vocabulary.users, train.users), (vocabulary.items, train.items)):
        if given.raw[: len(known)] == known.raw:
            continue
        row = next(row for row, raw in enumerate(known.raw) if given.raw[row : row + 1] != (raw,))
        there = repr(given.raw[row]) if row < len(given) else "nothing"
        said = f"{known.kind} row {row} is {known.raw[row]!r} in the vocabulary, but {there} in the log"
        raise ArgumentError("train", f"{said}; append new rows to the log that it was learned from")


def _features(vocabulary: Vocabulary, train: Interactions, features: ArrayLike | None) -> NDArray[Any] | None:
    """Features of all items: those that are given, else from the columns of the item table that say what items are."""
    if features is None:
        columns = [one for one in vocabulary.settings.get("attributes", {}).values() if isinstance(one, str)]
        return attribute_features(train.item_table, ["categories", *columns], vocabulary.n_items, train.n_items)
    found = np.asarray(features)
    if found.ndim != 2 or len(found) != train.n_items or found.dtype.kind not in "fiu" or np.isinf(found).any():
        shape = f"{found.dtype} {list(found.shape)}"
        raise ArgumentError("features", f"expected finite numbers or NaN, [{train.n_items}, f], got {shape}")
    check_scale("features", found)
    return found


class _Coding:
    """Tokens of a vocabulary that grow behind the last one.

    Attributes:
        levels: Tokens of each level.
        centroids: float32 `[n_tokens, dim]`.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.levels, self.centroids = vocabulary, list(vocabulary.levels), vocabulary.centroids

    def place(self, kind: Kind, x: Float32, threads: int | None) -> Placed:
        """Codes of new ids of a kind, int32 `[n, depth]`; tokens are appended where they are needed."""
        one = self.vocabulary
        book, taken = (one.codebook, one.item_codes) if kind == "item" else (one.user_codebook, one.user_codes)
        apart = kind == "user" and one.user_codebook is not one.codebook
        begin = [*one.codebook.levels, *[0] * len(book.levels)][: len(book.levels)] if apart else [0] * len(book.levels)
        if one.settings.get("unique") in ("counter", "none"):
            placed = self._counted(book.assign(x, threads=threads) + np.array(begin, np.int32), taken)
        else:
            cap, whole = one.settings.get("max_cluster_size"), len(book.levels) == one.depth
            appended = self.centroids[one.n_learned_tokens :] if whole else self.centroids[:0]
            placed = Shelf(book, begin, self.levels, appended, taken, cap, whole=whole).place(x, threads)
        self.levels[-1] += len(placed.centroids)
        self.centroids = np.concatenate([self.centroids, placed.centroids])
        room = one.depth - placed.codes.shape[1]
        return placed._replace(codes=np.pad(placed.codes, ((0, 0), (0, room)), constant_values=-1))

    def _counted(self, nearest: NDArray[np.int32], taken: NDArray[np.int32]) -> Placed:
        kept, none = np.ones(len(nearest), np.bool_), self.centroids[:0]
        if self.vocabulary.settings["unique"] == "none":
            return Placed(nearest, kept, none)
        numbers = count_on(nearest, taken[:, : nearest.shape[1] + 1])
        more = max(0, int(numbers.max(initial=-1)) + 1 - self.levels[-1])
        codes = np.concatenate([nearest, numbers[:, None]], axis=1)
        return Placed(codes, kept, np.zeros((more, self.vocabulary.dim), np.float32))
