"""Matrix factorization of ratings by a kept library, as a baseline: lenskit's biased ALS (extra `[rating]`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from metatoken.errors import ArgumentError
from metatoken.evaluate.ratings import rating_metrics
from metatoken.extras import install_extra
from metatoken.tasks.biases import rated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.tasks.pairs import Pairs

    Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Factorization:
    """`p = mean + b_u + b_i + p_u . q_i` (Koren, Bell and Volinsky 2009), fitted by lenskit.

    Attributes:
        scorer: lenskit's trained `BiasedMFScorer`.
        factors: Length of `p_u` and `q_i`.
        regularization: Weight of their squared lengths.
        low: Least training rating; predictions are cut to what can occur.
        high: Greatest training rating.
    """

    scorer: Any
    factors: int
    regularization: float
    low: float
    high: float

    @classmethod
    def fit(
        cls, train: Interactions, *, factors: int = 16, regularization: float = 0.1, epochs: int = 20, seed: int = 0
    ) -> Factorization:
        """Fits the factors on interactions with ratings.

        Raises:
            ArgumentError: lenskit is missing, or `train` has no ratings.
        """
        try:
            from lenskit.als import BiasedMFConfig, BiasedMFScorer
            from lenskit.data import from_interactions_df
            from lenskit.training import TrainingOptions
        except ImportError as error:
            said = f"matrix factorisation needs lenskit and pandas: {install_extra('rating')}"
            raise ArgumentError("train", said) from error
        if "rating" not in train.frame.columns:
            raise ArgumentError("train", "expected interactions with ratings; read the log with rating=<its column>")
        # One entry for each pair, as in a matrix: the mean where a user rated an item more than once.
        mean = train.frame.drop_nulls("rating").group_by("user", "item", maintain_order=True).agg(pl.mean("rating"))
        frame = mean.rename({"user": "user_id", "item": "item_id"}).to_pandas()
        config = BiasedMFConfig(embedding_size=factors, epochs=epochs, regularization=regularization)
        scorer = BiasedMFScorer(config)
        scorer.train(from_interactions_df(frame), TrainingOptions(rng=seed))
        return cls(scorer, factors, regularization, float(frame["rating"].min()), float(frame["rating"].max()))

    @classmethod
    def choose(
        cls,
        train: Interactions,
        validation: Interactions,
        *,
        grid: Sequence[tuple[int, float]] = ((8, 0.1), (16, 0.1), (32, 0.1), (16, 0.3), (16, 1.0)),
        seed: int = 0,
    ) -> Factorization:
        """The fit whose factors and regularization have the least RMSE on `validation`; the first among equals."""
        validation = rated(validation)
        fits = [cls.fit(train, factors=k, regularization=weight, seed=seed) for k, weight in grid]
        users, items = (validation.frame[name].to_numpy() for name in ("user", "item"))
        actual = validation.frame["rating"].to_numpy()
        return min(fits, key=lambda fit: rating_metrics(fit.predict(users, items), actual)["rmse"])

    def predict(self, users: NDArray[Any], items: NDArray[Any]) -> Float64:
        """Predicted ratings float64 `[n]` of user rows `[n]` and item rows `[n]`."""
        from lenskit.data import ItemList

        users, items = np.asarray(users), np.asarray(items)
        found = np.empty(len(users))
        order = np.argsort(users, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(users[order]) != 0])
        for rows in np.split(order, starts[1:]) if len(users) else ():
            scored = self.scorer(int(users[rows[0]]), ItemList(item_ids=items[rows]))
            found[rows] = scored.scores()
        return np.clip(found, self.low, self.high)

    def rate(self, pairs: Pairs) -> Float64:
        """Predicted ratings float64 `[n]` of pairs."""
        return self.predict(pairs.users, pairs.items)
