"""`LogDataModule`: a log and a vocabulary from files, as `LightningCLI` names them in YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metatoken.data import hold_out
from metatoken.data.interactions import read_log
from metatoken.data.settings import LogSettings
from metatoken.errors import ArgumentError
from metatoken.tasks.datamodule import TaskDataModule
from metatoken.tasks.task import tasks_of
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence


class LogDataModule(TaskDataModule):
    """A `TaskDataModule` that reads and splits a log by itself.

    Args:
        log: Which files, which columns, and how it is split.
        vocabulary: Folder of a vocabulary that `metatoken tokenize` made of the same log with the same split.
        tasks: Names of tasks; those of the model.
        seed: Seed of every draw, and of the pairs that are held out where a task rates or writes.
        **rest: Further arguments of `TaskDataModule`.

    Raises:
        ArgumentError: The vocabulary has learned from other interactions than the training part of the log.
        DataError: The log cannot be read.
        ArtifactError: The vocabulary cannot be read.
    """

    def __init__(
        self,
        log: LogSettings,
        vocabulary: str,
        *,
        tasks: Sequence[str] = ("sequential", "direct"),
        seed: int = 0,
        **rest: Any,
    ) -> None:
        needs = {task.name: task.columns for task in tasks_of(tasks, "rate", "write")}
        split, tokens = hold_out(read_log(log), needs, seed, log.split), Vocabulary.load(vocabulary)
        if tokens.learned_from != split.train.edges_checksum():
            said = f"{vocabulary} has learned from other interactions than the training part of {log.path or log.uri}"
            raise ArgumentError("vocabulary", f"{said}; make it by metatoken tokenize from this log and split")
        super().__init__(split, tokens, tasks=tasks, seed=seed, **rest)
