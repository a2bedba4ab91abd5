"""Scores by weights between items, as item_knn and ease learn them, each in its own way.

With x_1, x_2, ... the history of a user, newest first, and W the weights,

    s = sum_r decay^(r - 1) W[x_r],    p = .99 max(s, 0) / |max(s, 0)|_1 + .01 popularity.

A decay of 1 is the method as published, for which a history is a set. The part of popularity orders the items that no
weight reaches, as it does in the transition graph.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import sparse

from metatoken.baselines.baseline import Baseline, Origin
from metatoken.baselines.validation import Judge
from metatoken.data.ragged import check_rows
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.predict.transitions import Popularity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from metatoken.baselines.baseline import Arrays
    from metatoken.baselines.settings import EASESettings, ItemKNNSettings
    from metatoken.data.interactions import Interactions
    from metatoken.data.ragged import Sequences
    from metatoken.data.split import Split

    Float32 = NDArray[np.float32]

SMOOTHING = np.float32(0.01)  # the part of popularity
USERS = 5000  # validation users that settings are chosen on, at most
BLOCK = 256  # users that pass through the sparse product at once


class Neighbors(Baseline):
    """Weights between items, and how fast the past fades.

    Args:
        settings: As they were chosen, each a single value.
        origin: What it was fitted on.
        weights: W, sparse float32 `[n_items, n_items]`.
        popularity: float32 `[n_items]`, sums to 1.
    """

    settings: ItemKNNSettings | EASESettings

    def __init__(
        self, settings: ItemKNNSettings | EASESettings, origin: Origin, weights: sparse.csr_array, popularity: Float32
    ) -> None:
        super().__init__(settings, origin)
        self.weights, self.popularity = weights, popularity

    @classmethod
    @abstractmethod
    def candidates(cls, train: Interactions, settings: Any) -> Iterator[tuple[Any, sparse.csr_array]]:
        """Weights for each choice of what the settings say of them, with the settings that have this choice alone."""

    @classmethod
    def fit(
        cls,
        split: Split,
        settings: Any = None,
        *,
        seed: int = 0,
        say: Callable[[str], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """See `Baseline`; of the values that the settings list, those with the best NDCG@10, the first among equals."""
        settings = settings or cls.options()
        judge, popularity = Judge(split, limit=USERS, seed=seed), Popularity.fit(split.train).share
        learned_from, best, done = split.train.edges_checksum(), None, 0
        total = math.prod(len(values) for values in vars(settings).values() if isinstance(values, tuple))
        for one, weights in cls.candidates(split.train, settings):
            for decay in settings.decay:
                found = cls(replace(one, decay=(decay,)), Origin(learned_from, seed, 0.0), weights, popularity)
                found.origin = replace(found.origin, ndcg=judge.ndcg(found))
                best = found if best is None or found.origin.ndcg > best.origin.ndcg else best
                done += 1
                if progress is not None:
                    progress(done, total)
        if best is None:
            raise AssertionError("settings have one value of each at least")
        if say is not None:
            chosen = ", ".join(
                f"{name} {values[0]:g}" for name, values in vars(best.settings).items() if isinstance(values, tuple)
            )
            say(f"{cls.name}: {chosen}; validation NDCG@10 {best.origin.ndcg:.4f}")
        return best

    def scores(self, history: Sequences, users: NDArray[Any]) -> Float32:
        """See `Ranker`."""
        rows = check_rows(users, len(history))
        out = np.empty((len(rows), len(self.popularity)), dtype=np.float32)
        for at in range(0, len(rows), BLOCK):
            out[at : at + BLOCK] = self._block(history.gather(rows[at : at + BLOCK]))
        return out

    def _block(self, taken: Sequences) -> Float32:
        n_items = len(self.popularity)
        if len(taken.items) and not 0 <= int(taken.items.min()) <= int(taken.items.max()) < n_items:
            raise ArgumentError("history", f"expected item rows from 0 to {n_items - 1}, got {taken.items.max()}")
        age = taken.offsets[1:][taken.owners] - 1 - np.arange(len(taken.items))
        weights = np.power(self.settings.decay[0], age).astype(np.float32)
        start = sparse.csr_array((weights, (taken.owners, taken.items)), shape=(len(taken), n_items))
        found: Float32 = np.maximum((start @ self.weights).toarray(), 0.0)
        mass = found.sum(axis=1, keepdims=True)
        found *= np.divide(1.0 - SMOOTHING, mass, out=np.zeros_like(mass), where=mass > 0)
        found += np.where(mass > 0, SMOOTHING, np.float32(1.0)) * self.popularity
        return found

    def arrays(self) -> Arrays:
        """See `Baseline`."""
        csr = self.weights
        return {
            "data": csr.data,
            "indices": csr.indices.astype(np.int32),
            "indptr": csr.indptr.astype(np.int64),
            "popularity": self.popularity,
        }

    @classmethod
    def of(cls, settings: Any, origin: Origin, arrays: Arrays) -> Self:
        """See `Baseline`."""
        try:
            popularity = arrays["popularity"]
            parts = (arrays["data"], arrays["indices"], arrays["indptr"])
            weights = sparse.csr_array(parts, shape=(len(popularity), len(popularity)))
            weights.check_format()
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"weights of the baseline {cls.name} do not fit together ({error})") from error
        return cls(settings, origin, weights, popularity)


def users_by_items(train: Interactions) -> sparse.csr_array:
    """Who met what, float32 `[n_users, n_items]` of zeros and ones."""
    sequences = train.sequences()
    ones = np.ones(len(sequences.items), dtype=np.float32)
    matrix = sparse.csr_array((ones, (sequences.owners, sequences.items)), shape=(train.n_users, train.n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
