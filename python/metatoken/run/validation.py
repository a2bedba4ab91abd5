"""What is measured after each epoch beside the values of single heads: the list that is served, or the mean loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch

from metatoken.predict.choice import Choice
from metatoken.predict.prior import Prior, opinion
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.data import Split

SERVED, LOSS = "val/served/ndcg@10", "val/loss"
ROOM = 1 << 28  # bytes of the prior's distributions that are kept, since they are the same after every epoch


class ServedList(L.Callback):
    """Logs `val/served/ndcg@10`, the NDCG@10 of the list that `metatoken recommend` serves.

    That is the fusion of item head and prior under the weights that are best for the epoch, chosen on the
    same users, with the share of categories that is best for the prior alone. Prompts are read once, since the scores
    are those that `MetaTokenModule.validation_step` has computed.

    Args:
        split: The log, split; the prior learns from its train.
    """

    def __init__(self, split: Split) -> None:
        self.prior, self.history = Prior.chosen(split), split.history("validation")
        self._choice = Choice()
        self._known: dict[int, torch.Tensor] = {}  # by number of the batch, whose users are always the same

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:  # noqa: ARG002, D102
        self._choice = Choice()

    def on_validation_batch_end(  # noqa: D102
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if pl_module.tasks[dataloader_idx] == "sequential":
            prior = self._prior(batch_idx, batch.users).to(outputs.device)
            self._choice.add(outputs, prior, batch.targets, batch.seen)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:  # noqa: D102
        found = torch.tensor([*self._choice.gain.tolist(), self._choice.users], device=pl_module.device)
        found = trainer.strategy.reduce(found, reduce_op="sum")
        if found[-1] > 0:
            pl_module.log(SERVED, found[:-1].max() / found[-1], batch_size=1, sync_dist=True)

    def _prior(self, number: int, users: np.ndarray) -> torch.Tensor:
        if number in self._known:
            return self._known[number]
        found = opinion(torch.from_numpy(self.prior.scores(self.history, users)))
        if sum(one.nbytes for one in self._known.values()) + found.nbytes <= ROOM:
            self._known[number] = found
        return found


class MeanLoss(L.Callback):
    """Logs `val/loss`, the mean of the validation losses of all tasks that rate or write."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:  # noqa: D102
        named = [f"val/{name}/loss" for name in pl_module.tasks]
        found = [trainer.callback_metrics[name] for name in named if name in trainer.callback_metrics]
        if found:
            pl_module.log(LOSS, torch.stack(found).mean(), batch_size=1, sync_dist=True)


def watched(tasks: Sequence[str], split: Split) -> tuple[str, str, list[L.Callback]]:
    """What decides which epoch is the best, as `monitor` and `also` of `BestEpoch`, and the callbacks that log it.

    The served list and the item head where histories are read; else the item head of the first task that ranks; else
    the mean loss.
    """
    ranked = [task.name for task in tasks_of(tasks, "rank")] if len(split.targets("validation")) else []
    if not ranked:
        return LOSS, LOSS, [MeanLoss()]
    head = f"val/{'sequential' if 'sequential' in ranked else ranked[0]}/ndcg@10"
    return (SERVED, head, [ServedList(split)]) if "sequential" in ranked else (head, head, [])
