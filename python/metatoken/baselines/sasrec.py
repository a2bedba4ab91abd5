"""sasrec: the transformer that most papers compare with, trained as its strongest published runs were.

Every place of every history is supervised by a full cross-entropy over the catalogue; with this loss instead of one
sampled negative, SASRec reaches what most of its successors report (Klenitskiy and Vasilev, RecSys 2023). Steps hold
histories of like length, and the sum of a step's losses is divided by the epoch's mean number of targets a step, so
that a target weighs the same whatever the length of its history.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from metatoken.baselines.baseline import Baseline, Origin
from metatoken.baselines.histories import NOTHING, Steps, last_items
from metatoken.baselines.network import SASRecNetwork
from metatoken.baselines.settings import SASRecSettings
from metatoken.baselines.validation import Judge
from metatoken.data.ragged import check_rows
from metatoken.errors import ArgumentError, ArtifactError, DivergedError
from metatoken.model.heads.item_scores import ItemScores
from metatoken.predict.transitions import Popularity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from metatoken.baselines.baseline import Arrays
    from metatoken.data.ragged import Sequences
    from metatoken.data.split import Split

    Float32 = NDArray[np.float32]

USERS = 10_000  # validation users that the best epoch is chosen on, at most
BLOCK = 512  # users that are read at once


class SASRec(Baseline):
    """See the module's text.

    Args:
        settings: As they were chosen: `epochs` is the best one.
        origin: What it was fitted on.
        network: The network.
        popularity: float32 `[n_items]`, sums to 1, for users without a history.
    """

    name = "sasrec"
    options = SASRecSettings
    settings: SASRecSettings

    def __init__(self, settings: SASRecSettings, origin: Origin, network: SASRecNetwork, popularity: Float32) -> None:
        super().__init__(settings, origin)
        self.network, self.popularity = network.eval(), popularity

    @classmethod
    def fit(
        cls,
        split: Split,
        settings: SASRecSettings | None = None,
        *,
        seed: int = 0,
        say: Callable[[str], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """See `Baseline`; the epoch with the best validation NDCG@10 is kept, and the run ends when none was better."""
        judge, history = Judge(split, limit=USERS, seed=seed), split.train.sequences()
        settings = (settings or SASRecSettings()).resolved(history.n_targets, len(history))
        popularity, learned_from = Popularity.fit(split.train).share, split.train.edges_checksum()
        best: Self | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SASRecNetwork(settings, split.train.n_items)
            for epoch, loss in enumerate(_epochs(network, history, settings, seed, progress), 1):
                if epoch % settings.validate_every and epoch < settings.epochs:
                    continue
                origin = Origin(learned_from, seed, 0.0)
                now = cls(replace(settings, epochs=epoch), origin, copy.deepcopy(network), popularity)
                now.origin = replace(origin, ndcg=judge.ndcg(now))
                if best is None or now.origin.ndcg > best.origin.ndcg:
                    best = now
                if say is not None:
                    mark = ", the best so far" if best is now else ""
                    say(f"sasrec: epoch {epoch}, loss {loss:.4f}, validation NDCG@10 {now.origin.ndcg:.4f}{mark}")
                if epoch - best.settings.epochs >= settings.patience:
                    break
        if best is None:
            raise AssertionError("there is at least one epoch, and the last is always validated")
        return best

    @torch.no_grad()
    def scores(self, history: Sequences, users: NDArray[Any]) -> Float32:
        """See `Ranker`; users without a history get popularity."""
        rows = check_rows(users, len(history))
        out = np.tile(self.popularity, (len(rows), 1))
        known = np.flatnonzero(history.lengths[rows] > 0)
        for at in range(0, len(known), BLOCK):
            here = known[at : at + BLOCK]
            table = torch.from_numpy(last_items(history, rows[here], self.settings.max_history))
            if int(table.max()) >= len(self.popularity):
                said = f"expected item rows from 0 to {len(self.popularity) - 1}, got {int(table.max())}"
                raise ArgumentError("history", said)
            lengths = (table != NOTHING).sum(1)
            states = self.network(table.clamp(min=0), lengths)[torch.arange(len(table)), lengths - 1]
            out[here] = torch.softmax(states @ self.network.items.weight.T, dim=1).numpy()
        return out

    def arrays(self) -> Arrays:
        """See `Baseline`."""
        weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        return {**weights, "popularity": self.popularity}

    @classmethod
    def of(cls, settings: SASRecSettings, origin: Origin, arrays: Arrays) -> Self:
        """See `Baseline`."""
        weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
        try:
            popularity = weights.pop("popularity").numpy()
            network = SASRecNetwork(settings, len(popularity))
            network.load_state_dict(weights)
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(f"weights of the baseline {cls.name} do not fit its settings ({error})") from error
        return cls(settings, origin, network, popularity)


def summed_loss(network: SASRecNetwork, items: Tensor, targets: Tensor) -> Tensor:
    """The sum of the cross-entropies of all targets.

    Args:
        network: In training mode.
        items: int64 `[b, length]` item rows that are read, -1 behind the end.
        targets: int64 `[b, length]` the item that comes next at each place, -1 behind the end.
    """
    real = targets != NOTHING
    states, wanted = network(items.clamp(min=0), real.sum(1))[real], targets[real]
    nothing = torch.zeros_like(wanted)  # no slice of the catalogue beside the whole
    own, total, _ = ItemScores.apply(states, network.items.weight, wanted, nothing, nothing)
    summed: Tensor = (total - own).sum()
    return summed


def _epochs(
    network: SASRecNetwork,
    history: Sequences,
    settings: SASRecSettings,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[float]:
    """Trains for an epoch at a time, and gives the mean loss of its targets."""
    steps = Steps(history, batch_size=settings.batch_size or 1, max_history=settings.max_history, seed=seed)
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=decay)
    for epoch in range(settings.epochs):
        lost = 0.0
        network.train()
        for done, (items, targets) in enumerate(steps.epoch(epoch), 1):
            loss = summed_loss(network, items, targets) / steps.targets
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            lost += loss.item()
            if not math.isfinite(lost):
                said = f"the loss is {loss.item()} in epoch {epoch + 1}, batch {done}, at a learning rate of {rate:g}"
                raise DivergedError(f"sasrec diverged: {said}; give a smaller sasrec.learning_rate")
            if progress is not None:
                progress(epoch * steps.count + done, settings.epochs * steps.count)
        yield lost / max(1, steps.count)
