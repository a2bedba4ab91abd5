"""`Answerer`: ratings and texts of a model for single questions about pairs, or for a table of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from metatoken.artifacts import atomic_file, write_frame
from metatoken.config import expect, expect_list, expect_texts
from metatoken.data import columns
from metatoken.data.readers import JSON_LINES, PARQUET, SEPARATORS, read_table
from metatoken.decode.settings import AUTO, TextOptions
from metatoken.errors import ArgumentError, DataError, hint
from metatoken.predict.rater import ModelRater
from metatoken.predict.writer import ModelWriter
from metatoken.recommend.fields import as_learned, check_fields
from metatoken.recommend.requests import check_ids
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.task import FIELDS, Task, Template, known_tasks, tasks_of
from metatoken.tasks.telling import TellingWords

if TYPE_CHECKING:
    from collections.abc import Callable

    from metatoken.model.model import MetaTokenModel
    from metatoken.run import Run
    from metatoken.tasks.task import Kind


class Answerer:
    """Answers with a trained model.

    Args:
        module: The model.
        options: How texts are written.
        seed: Seed of the draws.
        novelty: By task, where the options leave it to be chosen; 0 for tasks that it lacks.
        telling: What stands in for a feature that is not given.
    """

    def __init__(
        self,
        module: MetaTokenModel,
        options: TextOptions | None = None,
        *,
        seed: int = 0,
        novelty: Mapping[str, float] | None = None,
        telling: TellingWords | None = None,
    ) -> None:
        self.module, self.seed, self.novelty = module.eval(), seed, novelty or {}
        self.options, self.telling = options or TextOptions(), telling

    @classmethod
    def load(cls, run: str | Path) -> Self:
        """Loads a run folder; texts are written as `evaluate.writing` of its configuration says.

        Raises:
            ArtifactError: A part is missing or altered.
        """
        from metatoken.run import load_run

        return cls.of(load_run(run))

    @classmethod
    def of(cls, run: Run, writing: TextOptions | None = None) -> Self:
        """That of a loaded run, see `load`; where the novelty is left to be chosen, as its evaluation chose."""
        from metatoken.run.evaluation import chosen_novelty

        writing = writing or run.config.evaluate.writing
        novelty = chosen_novelty(run.folder) if writing.novelty == AUTO else {}
        telling = TellingWords.fit(run.split.train, run.module.settings.feature_words)
        return cls(run.module, writing, seed=run.config.seed, novelty=novelty, telling=telling)

    def options_of(self, task: Task) -> TextOptions:
        """How texts of a task are written."""
        return self.options.settled(self.novelty.get(task.name, 0.0))

    def answer(
        self,
        task: str,
        users: Sequence[str],
        items: Sequence[str],
        fields: Mapping[str, Sequence[str]] | None = None,
        *,
        template: str | None = None,
    ) -> list[float] | list[str]:
        """Answers for pairs of users and items.

        Args:
            task: E.g. `rating` or `explanation`.
            users: Raw user ids `[n]`.
            items: Raw item ids `[n]`.
            fields: Texts that the template may use, `[n]` each, "" where there is none: `review`, `summary`, `rating`,
                `explanation`, `feature` (what the text is to be about), `title` (by default what the model knows).
            template: Id of the template to ask with; None takes the first.

        Returns:
            Ratings, or texts; the answers of `rating_text` are texts.

        Raises:
            ArgumentError: The model was not trained on the task, a field is unknown or no part of the template, or one
                that the task needs is empty.
            UnknownIdError: A user or an item is not known to the model.
        """
        pairs, asked = self._pairs(task, users, items, fields or {}, template)
        return ANSWER[pairs.task.kind](self, pairs, asked) if len(pairs) else []

    def rate_within(
        self,
        task: str,
        users: Sequence[str],
        items: Sequence[str],
        level: float,
        fields: Mapping[str, Sequence[str]] | None = None,
        *,
        template: str | None = None,
    ) -> list[tuple[float, float, float]]:
        """Ratings, and where the true ones are with probability `level`.

        Args:
            task: One that rates.
            users: As in `answer`.
            items: As in `answer`.
            level: Above 0 and below 1.
            fields: As in `answer`.
            template: As in `answer`.

        Returns:
            Rating, least and greatest value `[n]`.

        Raises:
            ArgumentError: The task writes, the level is out of range, or the run is of a version without intervals.
            UnknownIdError: See `answer`.
        """
        pairs, asked = self._pairs(task, users, items, fields or {}, template)
        if pairs.task.kind != "rate":
            said = f"only a task that rates has intervals, and {task!r} writes"
            raise ArgumentError("interval", said)
        rater = ModelRater(self.module, asked)
        rated = rater.rate(pairs)
        low, high = rater.interval(pairs, level, rated)
        return list(zip(rated.tolist(), low.tolist(), high.tolist(), strict=True))

    def _pairs(
        self,
        task: str,
        users: Sequence[str],
        items: Sequence[str],
        fields: Mapping[str, Sequence[str]],
        template: str | None,
    ) -> tuple[Pairs, Template]:
        """What is asked, and in which words; see `answer`."""
        expect_texts("fields", fields)
        check_ids("users", users)
        check_ids("items", items)
        for name, texts in fields.items():
            expect_list("fields", texts, f"texts for {name!r}")
        given = {name: list(texts) for name, texts in fields.items()}
        known, asked = self.check(task, given, template=template)
        if len(users) != len(items) or any(len(texts) != len(users) for texts in given.values()):
            raise ArgumentError("items", f"expected as many as users, {len(users)}, of the items and of each field")
        given = {name: as_learned(name, texts) for name, texts in given.items()}
        vocabulary = self.module.vocabulary
        item_rows = vocabulary.items.rows(items)
        if vocabulary.titles is not None and "title" not in given:
            given["title"] = [vocabulary.titles[row] for row in item_rows.tolist()]
        user_rows, limit = vocabulary.users.rows(users), self.module.settings.max_text
        if self.telling is not None and "feature" in asked.slots and "feature" not in given:
            given["feature"] = self.telling.about(user_rows, item_rows)
        return Pairs.ask(known, user_rows, item_rows, given, self.module.tokenizer, limit), asked

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that can be asked: those of the run that rate or write."""
        return tuple(task.name for task in tasks_of(self.module.tasks, "rate", "write"))

    def check(self, task: str, fields: Collection[str] = (), *, template: str | None = None) -> tuple[Task, Template]:
        """The task and the template of a question, without asking it.

        Args:
            task: As in `answer`.
            fields: Names of the fields that are given.
            template: As in `answer`.

        Raises:
            ArgumentError: The model was not trained on the task, or the template is none of its or lacks a field.
        """
        known, asked = self._asked(task, template)
        check_fields(known, asked, fields)
        return known, asked

    def answer_table(
        self, task: str, path: str | Path, *, template: str | None = None, interval: float | None = None
    ) -> pl.DataFrame:
        """Answers every row of a table.

        Args:
            task: As in `answer`.
            path: CSV, TSV, Parquet or JSON lines with the columns `user` and `item`, and fields of the template.
            template: As in `answer`.
            interval: Level of an interval around each rating; None asks for none.

        Returns:
            The columns `user`, `item` and `answer` (float64 or text), with an interval `low` and `high`, in the order
            of the table.

        Raises:
            DataError: The table cannot be read, or lacks a column.
            ArgumentError: See `answer`.
            UnknownIdError: See `answer`.
        """
        known, asked = self._asked(task, template)
        table = read_table(path, None)
        users, items = (columns.ids(table, name, name) for name in ("user", "item"))
        own = [name for name in FIELDS if name in table.frame.columns and name in asked.slots]
        for name in sorted(known.columns - {known.column} - set(own)):
            raise DataError(f"has no column {name!r}, which the task {task!r} needs", path)
        fields = {name: columns.texts(table, name, name).to_list() for name in own}
        pair = users.to_list(), items.to_list()
        if interval is None:
            answers = self.answer(task, *pair, fields, template=template)
            return pl.DataFrame({"user": users, "item": items, "answer": answers})
        within = self.rate_within(task, *pair, interval, fields, template=template)
        schema = dict.fromkeys(("answer", "low", "high"), pl.Float64())
        found = pl.DataFrame(within, schema=schema, orient="row")
        return pl.DataFrame({"user": users, "item": items, **found.to_dict()})

    def _asked(self, name: str, template: str | None) -> tuple[Task, Template]:
        tasks = {task.name: task for task in tasks_of(self.module.tasks, "rate", "write")}
        expect("task", name, str)
        if name not in tasks:
            have = f"it has {', '.join(tasks)}" if tasks else "it has none; name one in model.tasks and train"
            if name not in known_tasks():
                have = hint(name, list(tasks), have)
            said = f"the run was not trained on {name!r} as a task with a rating or a text; {have}"
            raise ArgumentError("task", said)
        task = tasks[name]
        return task, task.templates[0] if template is None else task.find(template)


ANSWER: dict[Kind, Callable[[Answerer, Pairs, Template], list[float] | list[str]]] = {
    "rate": lambda answerer, pairs, template: ModelRater(answerer.module, template).rate(pairs).tolist(),
    "write": lambda answerer, pairs, template: ModelWriter(
        answerer.module, template, answerer.options_of(pairs.task), seed=answerer.seed
    ).write(pairs),
}


def check_suffix(path: Path) -> None:
    """Refuses a name that says no kind of table.

    Raises:
        ArgumentError: It ends in none of `.parquet`, `.csv`, `.tsv`, `.jsonl` and their like.
    """
    known = (*PARQUET, *SEPARATORS, *JSON_LINES)
    if path.suffix.lower() not in known:
        raise ArgumentError("out", f"expected a name that ends in {', '.join(known)}; got {path}")


def write_answers(answers: pl.DataFrame, path: Path) -> None:
    """Writes answers by the name of the file, which appears when it is complete.

    Raises:
        ArgumentError: See `check_suffix`.
        ArtifactError: The file cannot be written there.
    """
    check_suffix(path)
    suffix = path.suffix.lower()
    with atomic_file(path) as work:
        if suffix in PARQUET:
            write_frame(work, answers)
        elif suffix in SEPARATORS:
            answers.write_csv(work, separator=SEPARATORS[suffix])
        else:
            answers.write_ndjson(work)
