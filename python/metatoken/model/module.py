"""`MetaTokenModule`: a thin Lightning shell around `MetaTokenModel`.

It hands batches to the network, logs, and decides what a checkpoint holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import lightning as L
import numpy as np
import torch
from torch import Tensor

from metatoken.model.model import PARTS, MetaTokenModel
from metatoken.model.objective import loss_parts
from metatoken.model.schedule import make_optimizer, rate
from metatoken.model.store.checkpoints import check_weights, random_state, set_random_state, trainable_names
from metatoken.model.validation import VALIDATION
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from metatoken.tasks.batch import Batch


class MetaTokenModule(MetaTokenModel, L.LightningModule):
    """Fine-tunes a language model to recommend with OOV tokens; arguments and errors are those of `MetaTokenModel`."""

    strict_loading = False  # checkpoints hold trainable weights only; on_load_checkpoint checks them
    _random_state: dict[str, Any] | None = None

    @classmethod
    def of(cls, model: MetaTokenModel) -> Self:
        """A model as one that Lightning trains; the two share all parts, weights too."""
        found = cls.__new__(cls)
        L.LightningModule.__init__(found)
        for name in PARTS:
            setattr(found, name, getattr(model, name))
        return found.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Seeds dropout by epoch and batch, as batches are, so that a resumed run repeats an uninterrupted one."""
        place = [self.settings.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The loss, and its parts for callbacks."""
        weights = self.settings.weights
        scores = self.network(batch, shared=weights.shared > 0, text=weights.text > 0, follow=weights.item > 0)
        parts = loss_parts(scores, weights, batch.normaliser)
        # All steps are divided by the same numbers, so means over an epoch weigh them alike: `batch_size=1`.
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, batch_size=1)
        self.log("loss", parts["loss"].detach(), prog_bar=True, logger=False, batch_size=1)
        return {"loss": parts["loss"]} | {name: value.detach() for name, value in parts.items() if name != "loss"}

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor | None:  # noqa: ARG002
        """Logs what is measured; gives the item head's scores to callbacks, so that none computes them again."""
        task = find_task(self.tasks[dataloader_idx])
        found = VALIDATION[task.kind](self.network, batch, self.settings.weights)
        named = {f"val/{task.name}/{name}": value for name, value in found.values.items()}
        self.log_dict(named, batch_size=found.size, add_dataloader_idx=False, prog_bar=True, sync_dist=True)
        return found.scores

    def configure_optimizers(self) -> Any:  # noqa: D102
        # Under autocast Lightning clips gradients outside the optimizer, which a fused one does not allow.
        optimizer = make_optimizer(self, self.settings, fused="mixed" not in self.trainer.precision)
        total = float(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(self.settings, step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips; the norm over the shards of FSDP is known to the wrapped model alone."""
        from lightning.pytorch.strategies import FSDPStrategy

        if isinstance(self.trainer.strategy, FSDPStrategy) and gradient_clip_val and gradient_clip_algorithm != "value":
            wrapped: Any = self.trainer.model
            wrapped.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps trainable weights only, since a frozen backbone is on disk already, and adds the random state."""
        keep = trainable_names(self)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in keep}
        checkpoint["random_state"] = random_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that every trainable weight is there and no other, since loading is not strict."""
        check_weights(self, checkpoint["state_dict"])
        self._random_state = checkpoint.get("random_state")

    def on_train_start(self) -> None:
        """Takes up the random state of a checkpoint, once everything that draws before the first batch has drawn."""
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None
