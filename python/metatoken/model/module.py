"""`MetaTokenModule`: a thin Lightning shell around `MetaTokenModel`.

It hands batches to the network, logs, decides what a checkpoint holds, and makes a model of one.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import lightning as L
import numpy as np
import polars as pl
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from metatoken.data.ragged import Sequences
from metatoken.errors import ArgumentError
from metatoken.model.heads.ranking import item_scores
from metatoken.model.heads.rows import clippable, exchanged
from metatoken.model.heads.top import NOTHING, TOLERANCE, top_k
from metatoken.model.model import PARTS, MetaTokenModel
from metatoken.model.objective import loss_parts
from metatoken.model.pages import on_large_pages
from metatoken.model.schedule import make_optimizer, rate
from metatoken.model.store.checkpoints import (
    check_weights,
    model_state,
    random_state,
    saved_arguments,
    set_random_state,
    trainable_names,
)
from metatoken.model.validation import VALIDATION
from metatoken.tasks.task import find_task
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from metatoken.model.settings import ModelSettings
    from metatoken.tasks.batch import Batch
    from metatoken.tasks.ranking import Evaluation


class Hyperparameters(dict[str, Any]):
    """Plain values by name. Lightning compares them with each argument of the model, which arrays cannot stand."""

    __array_ufunc__ = None


def keep_hyperparameters(module: MetaTokenModule, place: dict[str, str]) -> None:
    """Saves the settings of a module as its hyperparameters, with where its vocabulary lies, if that is known."""
    settings = module.settings
    module.save_hyperparameters(Hyperparameters(place | settings.plain() | {"seed": settings.seed}))


class MetaTokenModule(MetaTokenModel, L.LightningModule):
    """Fine-tunes a language model to recommend with OOV tokens; arguments and errors are those of `MetaTokenModel`.

    Its hyperparameters are the fields of `ModelSettings` as they came to be, and the folder of the vocabulary where one
    was named.

    Attributes:
        list_length: How many items `predict_step` lists for a user.
    """

    list_length: int = 10
    strict_loading = False  # checkpoints hold trainable weights only; on_load_checkpoint checks them
    _random_state: dict[str, Any] | None = None
    _exchanges = False  # whether processes exchange the gradient of the item table here, instead of in `ddp`

    def __init__(self, vocabulary: Vocabulary | str | Path, settings: ModelSettings | None = None, **rest: Any) -> None:
        super().__init__(vocabulary, settings, **rest)
        keep_hyperparameters(self, {} if isinstance(vocabulary, Vocabulary) else {"vocabulary": str(vocabulary)})

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,  # noqa: ARG003
        **arguments: Any,
    ) -> Self:
        """A trained model from a checkpoint of any trainer, in evaluation mode.

        Settings, the tokenizer of a preset and what ratings mean come from the checkpoint. What is no plain value does
        not: give `vocabulary` unless its folder was named, and `features`, or a `backbone` object with its `tokenizer`,
        where the model was made with them. Checkpoints of before 0.3 hold no settings; give them, too.

        Args:
            checkpoint_path: The file.
            map_location: As in `torch.load`.
            hparams_file: YAML of a logger, in place of the settings in the checkpoint.
            strict: As Lightning has it; every trainable weight must be there in any case, and no other.
            weights_only: Nothing but tensors and plain values is ever read, whatever is said here.
            **arguments: Arguments of the model that go over those of the checkpoint.

        Raises:
            ArtifactError: It cannot be read, or is no checkpoint.
            ArgumentError: There is no vocabulary.
            ConfigError: The weights are those of another model.
        """
        known = saved_arguments(checkpoint_path)
        if "vocabulary" not in known | arguments and hparams_file is None:
            said = "the checkpoint names no folder of it; give load_from_checkpoint(..., vocabulary=...)"
            raise ArgumentError("vocabulary", said)
        parts = {name: known[name] for name in ("tokenizer", "ratings") if name in known}
        with warnings.catch_warnings():
            # It warns of what a checkpoint leaves out on purpose; `check_weights` refuses what must not be missing.
            warnings.filterwarnings("ignore", message="Found keys that are in the model")
            made: Self = super().load_from_checkpoint(
                checkpoint_path, map_location, hparams_file, strict, weights_only=True, **(parts | arguments)
            )
        return made.eval()

    @classmethod
    def of(cls, model: MetaTokenModel) -> Self:
        """A model as one that Lightning trains; the two share all parts, weights too."""
        found = cls.__new__(cls)
        L.LightningModule.__init__(found)
        for name in PARTS:
            setattr(found, name, getattr(model, name))
        keep_hyperparameters(found, {})
        return found.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Seeds dropout by epoch and batch, as batches are, so that a resumed run repeats an uninterrupted one."""
        place = [self.settings.seed, self.current_epoch, batch_idx, self.global_rank]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        # Where no accelerator is used, seeding those that there might be takes longer than some layers.
        _ = torch.default_generator.manual_seed(seed) if self.device.type == "cpu" else torch.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss, and its parts for callbacks."""
        weights = self.settings.weights
        scores = self.network(batch, shared=weights.shared > 0, text=weights.text > 0, follow=weights.item > 0)
        parts = loss_parts(scores, weights, batch.normaliser)
        if batch_idx in (0, self.trainer.num_training_batches - 1) or self._watched():
            # All steps are divided by the same numbers, so means over an epoch weigh them alike: `batch_size=1`.
            self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, batch_size=1)
            self.log("loss", parts["loss"].detach(), prog_bar=True, logger=False, batch_size=1)
        return {"loss": parts["loss"]} | {name: value.detach() for name, value in parts.items() if name != "loss"}

    def _watched(self) -> bool:
        """Whether anything shows, writes or monitors the losses of single steps: to log them takes a while."""
        trainer: Any = self.trainer
        names = [getattr(one, "monitor", None) for one in trainer.callbacks]
        monitored = any(name is not None and not str(name).startswith("val/") for name in names)
        return bool(trainer.loggers) or trainer.progress_bar_callback is not None or monitored

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor | None:  # noqa: ARG002
        """Logs what is measured; gives the item head's scores to callbacks, so that none computes them again."""
        return self._measure("val", batch, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor | None:  # noqa: ARG002
        """The same for test data, as `test/...`."""
        return self._measure("test", batch, dataloader_idx)

    def _measure(self, stage: str, batch: Any, dataloader_idx: int) -> Tensor | None:
        task = find_task(self.tasks[dataloader_idx])
        found = VALIDATION[task.kind](self.network, batch, self.settings.weights)
        named = {f"{stage}/{task.name}/{name}": value for name, value in found.values.items()}
        self.log_dict(named, batch_size=found.size, add_dataloader_idx=False, prog_bar=True, sync_dist=True)
        return found.scores

    def predict_step(self, batch: Evaluation, batch_idx: int, dataloader_idx: int = 0) -> pl.DataFrame:  # noqa: ARG002
        """The items that a batch of users is most likely to take next, by the item head.

        Returns:
            Columns `user`, `rank` from 1, `item`, `score` (its probability), in raw ids; `list_length` rows for each
            user, less where fewer items are unseen. `polars.concat` makes one table of what `Trainer.predict` gives.
        """
        seen, k = Sequences.of(batch.seen), self.list_length
        items, logs = top_k(item_scores(self.network, batch.batch), seen, k, tolerance=TOLERANCE, log=True)
        kept = items != NOTHING
        trainer: Any = self.trainer
        users = self.vocabulary.users if self.vocabulary.n_users else trainer.datamodule.split.log.users
        columns = {
            "user": users.column(np.repeat(batch.users, kept.sum(axis=1))),
            "rank": np.broadcast_to(np.arange(1, k + 1), items.shape)[kept],
            "item": self.vocabulary.items.column(items[kept]),
            "score": np.exp(logs[kept]),
        }
        return pl.DataFrame(columns)

    def configure_optimizers(self) -> Any:  # noqa: D102
        # Scaled gradients, of half precision, are clipped before a fused optimizer would scale them back.
        fused, rows = not self._scaled(), self._updates_rows()
        optimizer = make_optimizer(self, self.settings, fused=fused, rows=rows)
        self.network.items.by_rows = rows
        total = float(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(self.settings, step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _updates_rows(self) -> bool:
        """Whether this training moves rows of the item table, as settings say, where weights are whole.

        Gradients that are scaled for half precision are looked through for infinite ones by each process for itself,
        before they are exchanged here.
        """
        from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

        trainer: Any = self.trainer
        whole = type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)
        return whole and not self._scaled() and self.settings.updates_rows(self.network.index.n_items)

    def _scaled(self) -> bool:
        """Whether losses are scaled, so that gradients of half precision are not lost."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def setup(self, stage: str) -> None:
        """Has `ddp` leave out the item table where rows of it are updated.

        It takes sparse gradients of `nn.Embedding` alone, and not on every device.
        """
        from lightning.pytorch.strategies import DDPStrategy

        processes = isinstance(self.trainer.strategy, DDPStrategy)
        self._exchanges = processes and self._updates_rows()
        if stage == "fit" and processes:
            apart = ["network.items.residual"] if self._exchanges else []
            ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model  # noqa: SLF001
            ignore(self, apart)

    def on_fit_start(self) -> None:
        """Puts the tables from which steps take single rows on large pages, when they are where they stay."""
        on_large_pages([*self.parameters(), *self.buffers()])

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002
        """Exchanges the gradient of the item table where `ddp` leaves it out."""
        table = self.network.items.residual
        if self._exchanges and table.grad is not None:
            table.grad = exchanged(table.grad)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips; the norm over the shards of FSDP is known to the wrapped model alone."""
        from lightning.pytorch.strategies import FSDPStrategy

        if isinstance(self.trainer.strategy, FSDPStrategy) and gradient_clip_val and gradient_clip_algorithm != "value":
            wrapped: Any = self.trainer.model
            wrapped.clip_grad_norm_(gradient_clip_val)
        else:
            what = optimizer if self._scaled() else clippable(optimizer)
            self.clip_gradients(what, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps trainable weights only, since a frozen backbone is on disk already, and adds the random state."""
        keep = trainable_names(self)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in keep}
        checkpoint["random_state"] = random_state()
        checkpoint |= model_state(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that every trainable weight is there and no other, since loading is not strict."""
        check_weights(self, checkpoint["state_dict"])
        self._random_state = checkpoint.get("random_state")

    def on_train_start(self) -> None:
        """Takes up the random state of a checkpoint, once everything that draws before the first batch has drawn.

        Processes also begin with one item table, where `ddp` does not see to it.
        """
        if self._exchanges:
            distributed.broadcast(self.network.items.residual.detach(), 0)
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None
