"""Training and validation data as Lightning wants them: `TaskDataModule`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from metatoken.config import expect, expect_list
from metatoken.data import Split
from metatoken.errors import ArgumentError
from metatoken.tasks.label_walks import LabelWalks
from metatoken.tasks.mixture import TaskRows, TrainingBatches, rows_of_ranking, rows_per_task
from metatoken.tasks.pairs import HeldOutPairs, PairRows, Pairs
from metatoken.tasks.ranking import RANKING, EvaluationBatches
from metatoken.tasks.rating import RatingRows, rest_of
from metatoken.tasks.recipe import recipe
from metatoken.tasks.sampling import EvaluationSampler, ResumableLoader, StepSampler, place_of
from metatoken.tasks.task import Task, find_task, tasks_of
from metatoken.tasks.telling import TellingWords
from metatoken.tasks.text import WritingRows
from metatoken.tasks.user_tokens import UserTokens
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from metatoken.data.ragged import Sequences
    from metatoken.data.split import Part
    from metatoken.tasks.batch import Batch
    from metatoken.tasks.reader import Reader
    from metatoken.tasks.replay import Replay
    from metatoken.tasks.task import Kind

VALIDATION_BATCH = 256  # prompts


class TaskDataModule(L.LightningDataModule):
    """Batches to train, validate, test and predict for `MetaTokenModule`, which says how it reads when it is fitted.

    Args:
        split: The log, split; with held-out pairs (`Split.with_pairs`) where a task rates or writes.
        vocabulary: Fitted on `split.train`.
        tasks: Names of tasks.
        batch_size: Rows in a step of the optimizer, over all processes and accumulated batches; by default by the size
            of the log, see `metatoken.tasks.recipe`.
        seed: Seed of every draw.
        direct_share: Share of the users who give a row of the direct task per epoch, see
            `metatoken.tasks.mixture.rows_of_ranking`.
        walk_share: Part of a target's weight that goes to an item drawn by a walk, see `metatoken.tasks.label_walks`.
        validation_users: How many users (drawn once) are scored after an epoch; None scores all. Tasks that rate or
            write take as many held-out rows.
        shares: Weights of those tasks per epoch, see `metatoken.tasks.mixture.rows_per_task`.
        mixing_temperature: See there.
        replay: What of a log that has grown is trained on; None for all of it.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        *,
        tasks: Sequence[str] = ("sequential", "direct"),
        batch_size: int | None = None,
        seed: int = 0,
        direct_share: float = 0.1,
        walk_share: float = 0.0,
        validation_users: int | None = 5000,
        shares: Mapping[str, float] | None = None,
        mixing_temperature: float = 1.0,
        replay: Replay | None = None,
    ) -> None:
        super().__init__()
        expect("split", split, Split)
        expect("vocabulary", vocabulary, Vocabulary)
        n_targets = split.train.sequences().n_targets
        batch_size = recipe(n_targets).batch_size if batch_size is None else batch_size
        if batch_size < 1:
            raise ArgumentError("batch_size", f"expected at least 1, got {batch_size}")
        if n_targets == 0:
            raise ArgumentError("split", "no user has two training interactions, so there is nothing to learn from")
        if not 0 < direct_share <= 1:
            raise ArgumentError("direct_share", f"expected a share above 0 and at most 1, got {direct_share}")
        if not 0 <= walk_share < 1:
            raise ArgumentError("walk_share", f"expected a share of at least 0 and below 1, got {walk_share}")
        self.tasks = tuple(map(find_task, expect_list("tasks", tasks, "names of tasks")))
        self.batch_size, self.seed, self.direct_share, self.walk_share = batch_size, seed, direct_share, walk_share
        self.split, self.vocabulary, self.validation_users, self.shares = split, vocabulary, validation_users, shares
        self.mixing_temperature, self.replay = mixing_temperature, replay
        about_pairs = tasks_of(tasks, "rate", "write")
        if about_pairs and split.pairs is None:
            said = f"the task {about_pairs[0].name!r} needs held-out pairs; use split.with_pairs(seed=...)"
            raise ArgumentError("split", said)
        self._reader: Reader | None = None
        self._rest: dict[str, np.ndarray] = {}  # by part, what the rating tasks of it share
        self._loader: ResumableLoader | None = None
        self._place_to_load: dict[str, Any] | None = None

    def connect(self, reader: Reader) -> None:
        """Says how the model reads that the batches are for; `Trainer.fit` does it."""
        self._reader, self._rest = reader, {}
        self._telling = TellingWords.fit(self.split.train, reader.feature_words)

    @property
    def reader(self) -> Reader:
        """How the model reads."""
        if self._reader is None:
            raise RuntimeError("TaskDataModule needs a model: call connect(model.reader) or Trainer.fit(model, data)")
        return self._reader

    def _trainer(self) -> Any:
        if self.trainer is None:
            raise RuntimeError("TaskDataModule needs a Trainer: call Trainer.fit(model, data)")
        return self.trainer

    def _place(self) -> tuple[int, int]:
        return place_of(self._trainer())

    def training_batches(self, parts: int = 1) -> TrainingBatches:
        """Batches of all tasks; each step in `parts`."""
        histories, reader = self.split.train.sequences(), self.reader
        builder = reader.builder
        ranked = {task.name: task for task in self.tasks if task.kind == "rank"}
        needed = reader.user_tokens != "none" or any(RANKING[name].needs_user for name in ranked)
        tokens = UserTokens(reader.user_tokens, histories, self.vocabulary, builder.encoder, needed=needed)
        kinds = {name: rows for name, rows in RANKING.items() if name in ranked}
        ranking = {name: rows(ranked[name], histories, builder, tokens) for name, rows in kinds.items()}
        pairs = {task.name: self.pair_rows(task, "train") for task in self.tasks if task.kind != "rank"}
        tables: dict[str, TaskRows] = {**ranking, **pairs}
        if self.replay is None:
            parts_of, wanted = list(tables.values()), [*self._wanted(tables).values()]
        else:
            parts_of, wanted = self.replay.mixture(tables, self._wanted)
        return TrainingBatches(
            parts_of,
            wanted,
            tokens,
            batch_size=self.batch_size,
            seed=self.seed,
            pad_id=builder.encoder.pad_id,
            parts=parts,
            walks=LabelWalks(histories, self.vocabulary.n_items) if self.walk_share > 0 and ranking else None,
            walk_share=self.walk_share,
            rewording=(reader.reworded, builder.encoder.base),
        )

    def _wanted(self, tables: Mapping[str, TaskRows]) -> dict[str, int]:
        """Rows of each table in an epoch, in the order of the tables."""
        ranked = {name: len(table) for name, table in tables.items() if table.task.kind == "rank"}
        others = {name: len(table) for name, table in tables.items() if table.task.kind != "rank"}
        absent = {task.name for task in self.tasks} - set(others)  # that have no rows among these
        shares = {name: share for name, share in (self.shares or {}).items() if name not in absent}
        wanted = rows_of_ranking(ranked, self.direct_share)
        return wanted | rows_per_task(others, shares, self.mixing_temperature)

    def pair_rows(self, task: Task, part: str) -> PairRows:
        """Rows of a task that rates or writes, of "train" or a held-out part."""
        if self.split.pairs is None:
            raise AssertionError("checked at the start")
        reader, log = self.reader, self.split.pairs.part(part)
        pairs = Pairs.of(task, log, reader.tokenizer, reader.max_text, self._telling)
        if task.kind == "write":
            return WritingRows(pairs, reader.builder.encoder, reworded=reader.reworded_texts)
        if reader.ratings is None:
            raise ArgumentError("tasks", "a rating task needs MetaTokenModule(..., ratings=RatingBase.fit(...))")
        if part not in self._rest:
            self._rest[part] = rest_of(log, reader.ratings, fold_seed=self.seed if part == "train" else None)
        return RatingRows(pairs, reader.builder.encoder, self._rest[part][pairs.rows])

    def train_dataloader(self) -> DataLoader[Batch]:  # noqa: D102
        trainer = self._trainer()
        self.connect(trainer.lightning_module.reader)  # of this fit: the data may have served another model before
        accumulate, ranks = trainer.accumulate_grad_batches, trainer.world_size
        batches = self.training_batches(ranks * accumulate)
        sampler = StepSampler(batches.steps, accumulate=accumulate, ranks=ranks, rank=trainer.global_rank)
        plan = {
            "rows": sum(len(table) for table in batches.tables if table.task.kind == "rank"),
            "batch_size": self.batch_size, "seed": self.seed, "direct_share": self.direct_share,
            "devices": ranks, "accumulate_grad_batches": accumulate,
        }  # fmt: skip
        new = {name: getattr(self.reader, name) for name in ("reworded", "reworded_texts", "feature_words")}
        new = {"walk_share": self.walk_share} | new  # older versions knew none
        plan |= {name: share for name, share in new.items() if share}
        self._loader = ResumableLoader(batches, sampler, plan, self._place)
        if self._place_to_load is not None:
            self._loader.load_state_dict(self._place_to_load)
            self._place_to_load = None
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """The place in the data, for a checkpoint."""
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from that place.

        Lightning hands it over before it asks for the loader. The loader's own state would come too late: a schedule
        that needs the length of the run makes Lightning set up the data before it restores its loops.
        """
        self._place_to_load = state_dict

    def val_dataloader(self) -> list[DataLoader[Any]]:  # noqa: D102
        return self._held_out("validation")

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Held-out test data of each task: all of it, whatever `validation_users` says."""
        return self._held_out("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """A prompt for each user with a history, of the whole log; what each has seen is left out of the list.

        Raises:
            ArgumentError: No task ranks items.
        """
        self.connect(self._trainer().lightning_module.reader)
        ranked = {task.name: task for task in self.tasks if task.kind == "rank"}
        if not ranked:
            raise ArgumentError(
                "tasks", "none of them ranks items, so nothing is listed; see metatoken.recommend.Answerer"
            )
        task, histories = ranked.get("sequential") or next(iter(ranked.values())), self.split.log.sequences()
        users = self._share(np.flatnonzero(histories.lengths))
        return _loader(self._prompts(task, users, np.zeros_like(users), histories))

    def _held_out(self, part: Part) -> list[DataLoader[Any]]:
        self.connect(self._trainer().lightning_module.reader)
        return [_loader(VALIDATION[task.kind](self, task, part)) for task in self.tasks]

    def _share(self, rows: np.ndarray) -> np.ndarray:
        """What this process scores of some rows."""
        trainer = self._trainer()
        return rows[trainer.global_rank :: trainer.world_size] if len(rows) >= trainer.world_size else rows

    def _prompts(self, task: Task, users: np.ndarray, items: np.ndarray, histories: Sequences) -> EvaluationBatches:
        return EvaluationBatches(self.reader, task.templates[0], users, items, histories, batch_size=VALIDATION_BATCH)

    def held_out_items(self, task: Task, part: Part = "validation") -> EvaluationBatches:
        """Prompts of held-out items, of this process's share of the users that are scored."""
        targets = self.split.targets(part)
        chosen = np.arange(len(targets.users))
        if part == "validation" and self.validation_users is not None and len(chosen) > self.validation_users:
            chosen = np.sort(np.random.default_rng(self.seed).choice(chosen, self.validation_users, replace=False))
        chosen, history = self._share(chosen), self.split.history(part)
        # Histories of like length side by side, or most of what is read would be padding.
        chosen = chosen[np.argsort(history.lengths[targets.users[chosen]], kind="stable")]
        return self._prompts(task, targets.users[chosen], targets.items[chosen], history)

    def held_out_pairs(self, task: Task, part: Part = "validation") -> HeldOutPairs:
        """Questions about held-out pairs."""
        limit = self.validation_users if part == "validation" else None
        return HeldOutPairs(self.pair_rows(task, part), self.reader.builder.encoder.pad_id, limit=limit, seed=self.seed)


def _loader(data: EvaluationBatches | HeldOutPairs) -> DataLoader[Any]:
    return DataLoader(data, batch_size=None, sampler=EvaluationSampler(len(data)))


VALIDATION: dict[Kind, Callable[[TaskDataModule, Task, Part], EvaluationBatches | HeldOutPairs]] = {
    "rank": TaskDataModule.held_out_items,
    "rate": TaskDataModule.held_out_pairs,
    "write": TaskDataModule.held_out_pairs,
}
