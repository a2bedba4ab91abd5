"""Scores a model and the baselines on what a split holds out, whatever the kind of task.

Items are ranked over the full catalogue and every held-out user counts; ratings and texts are asked for held-out pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from metatoken.data.cuts import of_new_items
from metatoken.decode.settings import AUTO
from metatoken.evaluate.answers import answer_metrics, held_pairs, interval_of
from metatoken.evaluate.attempts import attempt, attempts
from metatoken.evaluate.baselines import GlobalMean, ItemNeighbors, NearestPair, NearestText
from metatoken.evaluate.factorization import Factorization
from metatoken.evaluate.metrics import BASELINE
from metatoken.evaluate.novelty import NoveltyChoice, choose_novelty
from metatoken.evaluate.predictions import ANSWERS, SCHEMA, answers_frame, predictions_frame
from metatoken.evaluate.ranking import by_novelty, ranking_metrics, ranks, user_metrics
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.evaluate.significance import JUDGED, set_against_best_baseline
from metatoken.evaluate.text_features import FeatureWords
from metatoken.model.heads.top import TOLERANCE, top_k
from metatoken.predict.partners import Partners
from metatoken.predict.prior import Prior
from metatoken.predict.ranker import Reading
from metatoken.predict.rater import BaseRater, ModelRater
from metatoken.predict.transitions import Popularity
from metatoken.predict.writer import ModelWriter
from metatoken.tasks.biases import RatingBias, rated, ratings_of
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.ranking import RANKING, EvaluationBatches
from metatoken.tasks.task import Task, tasks_of
from metatoken.tasks.telling import TellingWords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from metatoken.data import RowSplit, Split
    from metatoken.data.split import Part
    from metatoken.decode.settings import TextOptions
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.fusion import Fusion
    from metatoken.predict.ranker import Lists, Ranker
    from metatoken.predict.rater import Rater
    from metatoken.predict.writer import Writer
    from metatoken.tasks.task import Kind, Template

K = 10
IN_TIME = ("time", "part", "files")  # splits whose later parts may have items of their own
Labels = tuple[str, str, str]
"""Task, template and model of a row."""


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
        rows: A row for each scored model, keys as in `metrics.json`.
        predictions: `predictions_frame` of the rows that rank.
        answers: `answers_frame` of the others.
        writing: What was chosen of how texts are written, by task, see `metatoken.evaluate.novelty`.
    """

    rows: list[dict[str, Any]]
    predictions: pl.DataFrame
    answers: pl.DataFrame
    writing: dict[str, Any] = field(default_factory=dict)


class Runner:
    """Evaluates one model on one part of a split.

    Args:
        module: The model, whose settings name its tasks.
        split: The log, split, in the rows of the model's vocabulary; baselines learn from its train.
        part: Which held-out items and pairs.
        settings: Beams, batches and texts; how texts are written.
        baselines: Fitted rankers by the name of their rows, for tasks that read a history.
        partners: Further models, whose item heads have a say in the fused row.
        seed: Seed of what is drawn.
        progress: Called with (steps done, steps in all).
    """

    def __init__(
        self,
        module: MetaTokenModel,
        split: Split,
        part: Part = "test",
        settings: EvaluateSettings | None = None,
        baselines: Mapping[str, Ranker] | None = None,
        *,
        partners: Sequence[MetaTokenModel] = (),
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.module, self.split, self.part = module, split, part
        self.settings, self.seed = settings or EvaluateSettings(), seed
        self.batch_size, self.baselines = self.settings.batch_size, dict(baselines or {})
        self.progress = progress or (lambda _done, _total: None)
        self.history = split.history(part)
        self.targets, self._back = split.by_length(part)
        self.prior = Prior.fit(split.train)
        self.partners = Partners(partners, split.log.items.raw)
        self.novelty: dict[str, NoveltyChoice] = {}

    def run(self, fusion: Fusion, *, unseen: bool = True) -> Result:
        """Scores every task with its first seen template and, if asked, its unseen ones; and the baselines.

        Args:
            fusion: Weights of the fused row.
            unseen: Whether to score unseen templates, too.
        """
        ranked = tasks_of(self.module.tasks, "rank") if len(self.targets) else ()
        others = tasks_of(self.module.tasks, "rate", "write") if self.split.pairs is not None else ()
        asked = [(task, t) for task in ranked for t in task.scored if t.seen or unseen]
        if (fusion.content, fusion.content_form) != (self.prior.share, self.prior.form):
            self.prior = self.prior.with_share(self.split.train, fusion.content, fusion.content_form)
        batches = -(-len(self.targets) // self.batch_size) * len(asked)
        total, was = batches + len(others), self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                lists = self._lists(asked, fusion, total)
                rows, frames = self._ranked_rows(lists | self._baselines(ranked))
                tables = [ANSWERS.to_frame()]
                for done, task in enumerate(others, batches + 1):
                    for row, table in self._answered_rows(task, unseen):
                        rows.append(row)
                        tables.append(table)
                    self.progress(done, total)
        finally:  # also where Ctrl-C ends it
            self.module.train(was)
        predictions = pl.concat([pl.DataFrame(schema=SCHEMA), *frames])
        return Result(rows, predictions, pl.concat(tables), {name: one.plain for name, one in self.novelty.items()})

    def batches(self, template: Template) -> EvaluationBatches:
        """Prompts of one template for all targets, histories of like length side by side."""
        users, items = self.targets.users, self.targets.items
        return EvaluationBatches(self.module.reader, template, users, items, self.history, batch_size=self.batch_size)

    def _lists(self, asked: Sequence[tuple[Task, Template]], fusion: Fusion, total: int) -> dict[Labels, Lists]:
        """Lists of the model, in the order of `targets`; what is the same for every template is asked once a batch."""
        parts: dict[Labels, list[Lists]] = {}
        prompts = [(task, template, self.batches(template)) for task, template in asked]
        for number, users in enumerate(self._users()):
            told = cache(lambda users=users: [one.scores(self.history, users) for one in (self.prior, self.partners)])
            for done, (task, template, batches) in enumerate(prompts, number * len(prompts) + 1):
                one = batches[number]
                reading = Reading(self.module.network, one.batch, one.seen, width=self.settings.width)
                beside = told() if RANKING[task.name].reads_history else None
                for model, lists in self._models(reading, fusion, beside).items():
                    parts.setdefault((task.name, template.id, model), []).append(lists)
                self.progress(done, total)
        return {labels: _joined(found) for labels, found in parts.items()}

    def _users(self) -> Iterator[np.ndarray]:
        """User rows of the targets, a batch at a time."""
        starts = range(0, len(self.targets), self.batch_size)
        return (self.targets.users[at : at + self.batch_size] for at in starts)

    def _models(self, reading: Reading, fusion: Fusion, told: list[Any] | None) -> dict[str, Lists]:
        """Lists of one batch, the fused one where prior and partners were asked."""
        found = {"item_head": reading.item_head(K), "generation": reading.generation(K)}
        if told is not None:
            found["fused"] = reading.fused(fusion, told[0], K, told[1])
        if reading.network.leaf and self.module.settings.weights.shared > 0:
            found["generation_leaf_off"] = reading.shared_tokens(K)
        return found

    def _baselines(self, tasks: Sequence[Task]) -> dict[Labels, Lists]:
        popularity, found = Popularity.fit(self.split.train), {}
        for task in tasks:
            found[task.name, BASELINE, "popularity"] = self._ranked_by(popularity)
            if RANKING[task.name].reads_history:
                found[task.name, BASELINE, "transition_graph"] = self._ranked_by(self.prior.transitions)
                if self.prior.content is not None:
                    found[task.name, BASELINE, "graph_and_categories"] = self._ranked_by(self.prior)
                for name, ranker in self.baselines.items():
                    lists = attempt(name, lambda ranker=ranker: self._ranked_by(ranker, TOLERANCE))  # type: ignore[misc]
                    if lists is not None:
                        found[task.name, BASELINE, name] = lists
        return found

    def _ranked_by(self, ranker: Ranker, tolerance: float = 0.0) -> Lists:
        scored = ((ranker.scores(self.history, part), self.history.take(part)) for part in self._users())
        return _joined([top_k(scores, seen, K, tolerance=tolerance) for scores, seen in scored])

    def _ranked_rows(self, lists: dict[Labels, Lists]) -> tuple[list[dict[str, Any]], list[pl.DataFrame]]:
        rows, frames, gains, targets = [], [], [], self.split.targets(self.part)
        new = of_new_items(self.split, targets) if self.split.name in IN_TIME else None
        for (task, template, model), found in lists.items():
            items, scores = found[0][self._back], found[1][self._back]
            metrics = ranking_metrics(items, targets.items, self.split.log.n_items)
            labels = {"model": model, "task": task, "template": template}
            found_by_user = user_metrics(ranks(items, targets.items))
            rows.append({**labels, "users": len(items), **metrics, **by_novelty(found_by_user, new)})
            gains.append(found_by_user[JUDGED])
            frames.append(predictions_frame(self.split.log, targets.users, items, scores, split=self.part, **labels))
        if rows:
            set_against_best_baseline(rows, np.stack(gains, axis=1))
        return rows, frames

    def _answered_rows(self, task: Task, unseen: bool) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
        """Rows of a task that rates or writes."""
        split = self._pairs()
        held = self.held(task)
        if len(held) == 0:
            return
        asked = [template for template in task.scored if template.seen or unseen]
        answers = {(template.id, MODELS[task.kind]): ANSWER[task.kind](self, held, template) for template in asked}
        for name, found in self._found(task, held).items():
            answers[BASELINE, name] = found
        known = ratings_of(rated(split.train)) if task.column == "rating" else np.zeros(0)
        written = None if task.column in (None, "rating") else split.train.frame[str(task.column)]
        features = None if written is None else FeatureWords.of([text for text in written if text])
        for (template, model), found in answers.items():
            labels = {"template": template, "model": model}
            row = {"task": task.name, "users": len(held)} | labels | answer_metrics(found, held, known)
            if model == MODELS["rate"] and isinstance(found, np.ndarray):
                row |= interval_of(self.module, held, found)
            if features is not None and not isinstance(found, np.ndarray):
                row |= features.metrics(found, held.known)
            texts = [repr(float(rating)) for rating in found] if isinstance(found, np.ndarray) else found
            yield row, answers_frame(split.train, held, texts, split=self.part, **labels)

    def _found(self, task: Task, held: Pairs) -> dict[str, np.ndarray | list[str]]:
        """Answers of the baselines."""
        split = self._pairs()
        if task.column == "rating":
            raters: dict[str, Callable[[], Rater]] = {
                "global_mean": lambda: GlobalMean.fit(split.train),
                "biases": lambda: RatingBias.choose(split.train, split.validation),
                "item_neighbors": lambda: ItemNeighbors.fit(split.train, split.validation),
            }
            if self.module.ratings is not None and self.module.ratings.collaborative is not None:
                raters["rating_base"] = lambda: BaseRater(self.module)
            if find_spec("lenskit") is not None:
                raters["matrix_factorization"] = lambda: Factorization.choose(split.train, split.validation)
            return attempts({name: lambda make=make: make().rate(held) for name, make in raters.items()})  # type: ignore[misc]
        train = Pairs.of(task, split.train, self.module.tokenizer, self.module.settings.max_text)
        writers: dict[str, Callable[[], Writer]] = {
            "nearest_pair": lambda: NearestPair.of(self.module.vocabulary, train)
        }
        if (source := task.source) is not None:
            writers["nearest_text"] = lambda: NearestText.of(source, train)
        return attempts({name: lambda make=make: make().write(held) for name, make in writers.items()})  # type: ignore[misc]

    def held(self, task: Task, part: Part | None = None) -> Pairs:
        """Held-out pairs of a task, of this part by default; of texts no more than the settings say."""
        log, texts = self._pairs().part(part or self.part), self.settings.texts
        return held_pairs(self.module, task, log, texts, self.seed, self.telling)

    @cached_property
    def telling(self) -> TellingWords | None:
        """What stands in for missing features."""
        return TellingWords.fit(self.split.train, self.module.settings.feature_words)

    def options(self, task: Task) -> TextOptions:
        """How texts of a task are written, with the novelty that validation texts choose where it is to be."""
        writing = self.settings.writing
        if writing.novelty != AUTO:
            return writing
        if task.name not in self.novelty:
            writer = ModelWriter(self.module, options=writing, seed=self.seed)
            self.novelty[task.name] = choose_novelty(writer, self.held(task, "validation"))
        return writing.settled(self.novelty[task.name].novelty)

    def _pairs(self) -> RowSplit:
        if self.split.pairs is None:
            raise AssertionError("asked only where pairs are held out")
        return self.split.pairs


MODELS: dict[Kind, str] = {"rate": "rating_head", "write": "written"}
ANSWER: dict[Kind, Callable[[Runner, Pairs, Template], np.ndarray | list[str]]] = {
    "rate": lambda runner, held, template: ModelRater(runner.module, template).rate(held),
    "write": lambda runner, held, template: ModelWriter(
        runner.module, template, runner.options(held.task), seed=runner.seed
    ).write(held),
}


def _joined(parts: Sequence[Lists]) -> Lists:
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
