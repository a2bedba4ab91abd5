"""Which batches a process reads, in which order, and from where it goes on after an interruption.

A step of the optimizer reads one batch of the plan, cut into `ranks x accumulate` parts. How many processes there are
and how often gradients are accumulated therefore changes nothing about what is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, DistributedSampler

from metatoken.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.utils.data import Dataset

    from metatoken.tasks.batch import Batch


class EvaluationSampler(DistributedSampler[int]):
    """All batches in order. A `DistributedSampler` by name only, so that Lightning does not put its own around it.

    Args:
        length: Batches of this process.
    """

    def __init__(self, length: int) -> None:
        super().__init__(range(length), num_replicas=1, rank=0, shuffle=False)  # type: ignore[arg-type]


class StepSampler(DistributedSampler[tuple[int, int]]):
    """Yields (epoch, part) for one process; Lightning calls `set_epoch`.

    Args:
        steps: Optimizer steps per epoch.
        accumulate: Parts of a step that one process reads one after the other.
        ranks: Processes.
        rank: This process.
    """

    def __init__(self, steps: int, *, accumulate: int = 1, ranks: int = 1, rank: int = 0) -> None:
        super().__init__(range(steps * accumulate * ranks), num_replicas=ranks, rank=rank)  # type: ignore[arg-type]
        self.length, self.ranks = steps * accumulate, ranks
        self._start = (0, 0)

    def start_at(self, epoch: int, position: int) -> None:
        """The next pass over `epoch` leaves out the first `position` batches."""
        self._start = (epoch, position)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every batch of this process once; their order within an epoch is drawn by the data set."""
        # Lightning makes the iterator before it sets the epoch, so the epoch is read at the first batch.
        epoch, position = self._start
        self._start = (0, 0)
        for number in range(position if epoch == self.epoch else 0, self.length):
            yield self.epoch, number * self.ranks + self.rank

    def __len__(self) -> int:
        """Batches of this process in a whole epoch."""
        return self.length


def place_of(trainer: Any) -> tuple[int, int]:
    """Epoch and batches of it that are done; counted by the trainer, since a loader may be ahead of it."""
    loop = trainer.fit_loop
    epoch, position = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current.ready
    over = epoch.processed == epoch.started or position >= trainer.num_training_batches
    return (epoch.started, 0) if over else (epoch.processed, position)


class ResumableLoader(DataLoader["Batch"]):
    """A loader whose place in the epoch goes into a checkpoint.

    Args:
        dataset: Batches by (epoch, part).
        sampler: Steps of this process.
        plan: What must be the same for a place within an epoch to mean the same batches.
        place: Gives (epoch, batches of it that are done), as the trainer counts them.
    """

    def __init__(
        self, dataset: Dataset[Batch], sampler: StepSampler, plan: dict[str, Any], place: Callable[[], tuple[int, int]]
    ) -> None:
        super().__init__(dataset, batch_size=None, sampler=sampler)
        self.plan, self.place = plan, place

    def state_dict(self) -> dict[str, Any]:
        """Plain values: epoch, position and plan."""
        epoch, position = self.place()
        return {"epoch": epoch, "position": position, "plan": self.plan}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where a checkpoint was made.

        Raises:
            ConfigError: It was made within an epoch of another plan.
        """
        epoch, position, plan = int(state["epoch"]), int(state["position"]), state["plan"]
        changed = [key for key in {**plan, **self.plan} if plan.get(key) != self.plan.get(key)]
        if position and changed:
            was = ", ".join(f"{key} {plan.get(key)}" for key in changed)
            remedy = "resume with the same settings (they can be changed at the end of an epoch)"
            raise ConfigError(f"checkpoint: made {position} batches into an epoch with {was}; {remedy}")
        sampler: Any = self.sampler
        sampler.start_at(epoch, position)
