"""Scores a model and the baselines on a split: full ranking of the catalogue, every held-out user counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import torch

from metatoken.data import Targets
from metatoken.decode.beam import Recommendations, beam_search
from metatoken.evaluate.predictions import SCHEMA, predictions_frame
from metatoken.evaluate.ranking import ranking_metrics
from metatoken.model.heads.ranking import item_scores
from metatoken.predict.fusion import Candidates, Fusion, choose
from metatoken.predict.top import top_k
from metatoken.predict.transitions import Popularity, TransitionGraph
from metatoken.tasks.datamodule import EvaluationBatches
from metatoken.tasks.families import ranking_tasks
from metatoken.tasks.prompts import templates

if TYPE_CHECKING:
    from metatoken.data import Sequences, Split
    from metatoken.model.module import MetaTokenModule
    from metatoken.model.network import Network
    from metatoken.tasks.examples import Batch

Part = Literal["validation", "test"]
Progress = Callable[[int, int], None]
K = 10
DEPTH = 100  # generated items that enter the fusion; the rest of the catalogue has probability 0 there


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
        rows: A row for each scored model, keys as in `metrics.json`.
        predictions: `predictions_frame` of all rows.
    """

    rows: list[dict[str, Any]]
    predictions: pl.DataFrame


class Runner:
    """Evaluates one model on one part of a split.

    Args:
        module: The model.
        split: Of the log, in the rows of the model's vocabulary.
        part: Which targets.
        width: Beams at least.
        batch_size: Prompts in a batch.
        progress: Called with (batches done, batches in all).
    """

    def __init__(
        self,
        module: MetaTokenModule,
        split: Split,
        part: Part = "test",
        *,
        width: int = 20,
        batch_size: int = 256,
        progress: Progress | None = None,
    ) -> None:
        self.module, self.split, self.part = module, split, part
        self.width, self.batch_size = width, batch_size
        self.progress = progress or (lambda _done, _total: None)
        self.history: Sequences = split.history(part)
        # Histories of like length side by side: a batch is padded to its longest.
        targets = split.targets(part)
        order = np.argsort(self.history.lengths[targets.users], kind="stable")
        self.targets = Targets(targets.users[order], targets.items[order])
        self._back = np.argsort(order)  # results are put back into the order of the split
        self.prior = TransitionGraph.fit(split.train)

    def batches(
        self, task: str, template: str, users: np.ndarray | None = None, items: np.ndarray | None = None
    ) -> EvaluationBatches:
        """Prompts of one task and template, for all targets or the ones given."""
        return EvaluationBatches(
            task,
            template,
            self.targets.users if users is None else users,
            self.targets.items if items is None else items,
            self.history,
            self.module.builder,
            batch_size=self.batch_size,
            with_user=self.module.user_tokens != "none",
        )

    def run(self, fusion: Fusion, *, unseen: bool = True) -> Result:
        """Scores every task with its first seen template and, if asked, its unseen one; and the baselines.

        Args:
            fusion: Weights of the fused row.
            unseen: Whether to score unseen templates, too.
        """
        plan = [(task, template.id) for task in ranking_tasks(self.module.tasks) for template in _chosen(task, unseen)]
        lists: dict[tuple[str, str, str], list[Any]] = {}
        total = len(plan) * len(self.batches(*plan[0])) if plan else 0
        done = 0
        with _evaluating(self.module):
            for task, template in plan:
                for found in self._models(task, template, fusion):
                    for model, pair in found.items():
                        lists.setdefault((task, template, model), []).append(pair)
                    done += 1
                    self.progress(done, total)
        for task in ranking_tasks(self.module.tasks):
            for model, pair in self._baselines(task):
                lists[(task, "-", model)] = [pair]
        return self._result(lists)

    def choose_fusion(self, limit: int = 5000, seed: int = 0) -> Fusion:
        """Fusion weights from (at most `limit`, drawn once) targets of this part; needs the sequential task."""
        if "sequential" not in self.module.tasks or len(self.targets.users) == 0:
            return Fusion(1.0, 0.0, 0.0) if "sequential" not in self.module.tasks else Fusion()
        chosen = np.arange(len(self.targets.users))
        if len(chosen) > limit:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
        template = templates("sequential")[0].id
        with _evaluating(self.module):
            return choose(self._candidates(template, self.targets.users[chosen], self.targets.items[chosen]))

    def _candidates(self, template: str, users: np.ndarray, items: np.ndarray) -> Iterator[Candidates]:
        data = self.batches("sequential", template, users, items)
        for number in range(len(data)):
            one = data[number]
            part = users[number * self.batch_size :][: len(one.seen)]
            item, beams = read(self.module.network, one.batch, one.seen, self.width)
            prior = torch.from_numpy(self.prior.scores(self.history, part))
            yield item.exp(), spread(beams, item.shape[1]), prior, one.targets, one.seen
            self.progress(number + 1, len(data))

    def _models(self, task: str, template: str, fusion: Fusion) -> Iterator[dict[str, tuple[np.ndarray, np.ndarray]]]:
        data = self.batches(task, template)
        network = self.module.network
        for number in range(len(data)):
            one = data[number]
            users = self.targets.users[number * self.batch_size :][: len(one.seen)]
            seen = _rows(self.history, users)
            item, beams = read(network, one.batch, one.seen, self.width)
            found = {"item_head": top_k(item, seen, K), "generation": _first(beams)}
            if task == "sequential":
                prior = torch.from_numpy(self.prior.scores(self.history, users))
                found["fused"] = top_k(fusion.mix(item.exp(), spread(beams, item.shape[1]), prior), seen, K)
            if network.leaf and self.module.settings.weights.shared > 0:
                shared = beam_search(network, one.batch, one.seen, k=K, width=self.width, leaf=False)
                found["generation_leaf_off"] = _first(shared)
            yield found

    def _baselines(self, task: str) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
        models: list[tuple[str, Popularity | TransitionGraph]] = [("popularity", Popularity.fit(self.split.train))]
        if task == "sequential":
            models.append(("transition_graph", self.prior))
        for name, model in models:
            parts = []
            for at in range(0, len(self.targets.users), self.batch_size):
                users = self.targets.users[at : at + self.batch_size]
                parts.append(top_k(model.scores(self.history, users), _rows(self.history, users), K))
            yield name, (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))

    def _result(self, lists: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]]) -> Result:
        rows, frames, targets = [], [], self.split.targets(self.part)
        for (task, template, model), parts in lists.items():
            items = np.concatenate([p[0] for p in parts])[self._back]
            scores = np.concatenate([p[1] for p in parts])[self._back]
            metrics = ranking_metrics(items, targets.items, self.split.log.n_items)
            rows.append({"model": model, "task": task, "template": template, "users": len(items)} | metrics)
            labels = {"task": task, "template": template, "model": model}
            users = targets.users
            frames.append(predictions_frame(self.split.log, users, items, scores, split=self.part, **labels))
        return Result(rows, pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA))


def read(
    network: Network, batch: Batch, seen: Sequence[np.ndarray], width: int, depth: int = DEPTH
) -> tuple[torch.Tensor, Recommendations]:
    """Reads prompts once for both heads.

    Args:
        network: In evaluation mode.
        batch: Prompts.
        seen: For each prompt the item rows that must not be generated.
        width: Beams at least.
        depth: Items to generate.

    Returns:
        Log-probabilities of the item head, float `[B, n_items]`, and the `depth` best generated items.
    """
    prefix = network.start(batch)
    item = item_scores(network, batch, prefix)
    k = min(depth, item.shape[1])
    return item, beam_search(network, batch, seen, k=k, width=width, prefix=prefix)


def spread(beams: Recommendations, n_items: int) -> torch.Tensor:
    """Generated items as probabilities over the catalogue, float `[B, n_items]`, 0 where nothing was generated."""
    dense = beams.scores.new_zeros(len(beams.items), n_items)
    return dense.scatter_add_(1, beams.items.clamp_min(0), beams.scores.exp().masked_fill(beams.items < 0, 0.0))


def _first(beams: Recommendations) -> tuple[np.ndarray, np.ndarray]:
    pad = max(0, K - beams.items.shape[1])
    items = torch.nn.functional.pad(beams.items[:, :K], (0, pad), value=-1)
    scores = torch.nn.functional.pad(beams.scores[:, :K], (0, pad), value=-torch.inf)
    return items.numpy().astype(np.int32), scores.numpy()


def _chosen(task: str, unseen: bool) -> list[Any]:
    known = templates(task)
    return [known[0], *[t for t in known if not t.seen and unseen]]


def _rows(history: Sequences, users: np.ndarray) -> Sequences:
    parts = [history[user] for user in users]
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return type(history)(offsets, np.concatenate(parts) if parts else history.items[:0])


class _evaluating:  # noqa: N801
    """Evaluation mode without gradients, and back."""

    def __init__(self, module: MetaTokenModule) -> None:
        self.module, self.was = module, module.training
        self.no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self.module.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error: object) -> None:
        self.no_grad.__exit__(*error)
        self.module.train(self.was)


def summary(rows: Sequence[dict[str, Any]], model: str, task: str = "sequential") -> dict[str, Any] | None:
    """The first row of a model and task, or None."""
    return next((r for r in rows if r["model"] == model and r["task"] == task), None)
