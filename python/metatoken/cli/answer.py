"""`metatoken answer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoken.cli.options import Otherwise, panel
from metatoken.cli.starting import starting

if TYPE_CHECKING:
    import polars as pl

    from metatoken.recommend.answerer import Answerer

field_option = panel("What the question may use")


def answer(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    task: Annotated[str, typer.Argument(help="Task of the run: rating, explanation, review_summary, ...")],
    user: Annotated[str | None, typer.Option(help="User id.")] = None,
    item: Annotated[str | None, typer.Option(help="Item id.")] = None,
    review: Annotated[str | None, field_option(help="Text of a review.")] = None,
    summary: Annotated[str | None, field_option(help="Its summary.")] = None,
    rating: Annotated[str | None, field_option(help="The user's rating.")] = None,
    feature: Annotated[str | None, field_option(help="What the text is to be about, in words.")] = None,
    title: Annotated[str | None, field_option(help="Title of the item, if not the one that is known.")] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Table of questions (columns user, item, fields) in place of a single one.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write .parquet, .csv, .tsv or .jsonl.")] = None,
    template: Annotated[str | None, typer.Option(help="Id of the words to ask with; the first if not given.")] = None,
    overrides: Otherwise = None,
    interval: Annotated[
        float | None, typer.Option(help="Of a rating, also where the true one is with this probability, e.g. 0.8.")
    ] = None,
) -> None:
    """Rate, explain or summarize: answers of the rating and text tasks."""
    with starting():
        from metatoken.cli.output import say
        from metatoken.recommend.questions import Answering, Question

    _check_asked(user, item, questions)
    if out is not None:
        _check_out(out, questions)
    with starting():
        answerer = _load(run, overrides or [])
    if questions is not None:
        _give(answerer.answer_table(task, questions, template=template, interval=interval), out)
        return
    given = {"review": review, "summary": summary, "rating": rating, "feature": feature, "title": title}
    fields = {name: text for name, text in given.items() if text is not None}
    (answered,) = Answering(answerer).ask([Question(task, str(user), str(item), fields, template, interval)])
    say(_readable(answered.answer, answered.low, answered.high))


def _check_asked(user: str | None, item: str | None, questions: Path | None) -> None:
    """Refuses half a pair, a pair beside a table, and neither."""
    from metatoken.errors import ArgumentError

    if (questions is None) != (user is not None and item is not None) or (questions is not None and (user or item)):
        raise ArgumentError("--user", "expected both --user and --item, or --questions without them")


def _load(run: Path, overrides: list[str]) -> Answerer:
    """An answerer that writes as the run says, or otherwise."""
    from metatoken.recommend.answerer import Answerer
    from metatoken.run import load_run
    from metatoken.run.config import scored_by

    loaded = load_run(run)
    return Answerer.of(loaded, scored_by(loaded.config, overrides, "evaluate.writing").evaluate.writing)


def _check_out(out: Path, questions: Path | None) -> None:
    """Refuses a file for a single answer, and to write onto what must stay."""
    from metatoken.cli.kinds import table
    from metatoken.cli.output import check_output_file
    from metatoken.errors import ArgumentError
    from metatoken.recommend.answerer import check_suffix

    if questions is None:
        raise ArgumentError("--out", "is for --questions; a single answer is printed")
    check_suffix(out)
    check_output_file("--out", out, {"--questions": questions}, table("answers", ("user", "item", "answer")))


def _give(answers: pl.DataFrame, out: Path | None) -> None:
    """Writes answers to a file, or prints them."""
    from metatoken.cli.output import say
    from metatoken.recommend.answerer import write_answers

    if out is not None:
        write_answers(answers, out)
        print(f"{answers.height} answers written to {out}")
        return
    for row in answers.iter_rows(named=True):
        say(f"{row['user']}  {row['item']}  {_readable(row['answer'], row.get('low'), row.get('high'))}")


def _readable(value: float | str, low: float | None = None, high: float | None = None) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}" + ("" if low is None or high is None else f"  ({low:.2f} to {high:.2f})")
