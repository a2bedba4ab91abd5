"""Partners: models whose item heads have a say in the fused list beside that of the run's own model.

The item heads are pooled by the geometric mean of their probabilities,

    log p_item(i) = mean over models of log p_m(i) - log sum_j exp(mean over models of log p_m(j)),

before they meet the prior (`metatoken.predict.fusion`). Models that differ by their seed alone err for different users,
and the mean errs less than each (as deep ensembles do, Lakshminarayanan et al. 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.errors import ArgumentError
from metatoken.model.heads.ranking import item_scores
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from metatoken.data.ragged import Sequences
    from metatoken.model.model import MetaTokenModel


class Partners:
    """The item heads of further models.

    Args:
        models: Models over the same items, in the same rows.
        items: Raw ids of the items.

    Raises:
        ArgumentError: A model has other items, does not rank by histories, or reads a user's tokens beside them, which
            strangers have not.
    """

    def __init__(self, models: Sequence[MetaTokenModel] = (), items: Sequence[str] = ()) -> None:
        for model in models:
            if list(model.vocabulary.items.raw) != list(items):
                raise ArgumentError("partners", "expected models over the same items; train them on the same log")
            if "sequential" not in model.tasks:
                raise ArgumentError("partners", "expected models with the task sequential, which rank by histories")
            if model.user_tokens != "none":
                said = f"expected models that read histories alone, got one with user_tokens: {model.user_tokens}"
                raise ArgumentError("partners", said)
        self.models = [model.eval() for model in models]

    def __len__(self) -> int:
        return len(self.models)

    @torch.no_grad()
    def scores(self, history: Sequences, users: NDArray[np.integer]) -> list[Tensor]:
        """Log-probabilities of each partner's item head, float `[b, n_items]`.

        Args:
            history: What each user has seen, oldest first.
            users: Integer `[b]`, rows of `history`.
        """
        template, nothing = find_task("sequential").templates[0], np.zeros(len(users), dtype=np.int64)
        found = []
        for model in self.models:
            read = EvaluationBatches(model.reader, template, users, nothing, history, batch_size=max(1, len(users)))
            found += [item_scores(model.network, one.batch) for one in read]
        return found


def pooled(own: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The geometric mean of distributions, log-probabilities float `[B, n_items]` each; of one, itself."""
    if not others:
        return own
    return torch.log_softmax(torch.stack([own, *others]).mean(dim=0), dim=1)
