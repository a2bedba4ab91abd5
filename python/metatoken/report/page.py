"""The page: one HTML file that asks for nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from metatoken.artifacts import atomic_file
from metatoken.evaluate.metrics import BASELINE
from metatoken.evaluate.significance import JUDGED
from metatoken.report.costs import cost_section
from metatoken.report.drawing import printable
from metatoken.report.examples import answer_examples, list_examples
from metatoken.report.hits import hit_pictures
from metatoken.report.log import log_section
from metatoken.report.results import by_length_of_list, forest, result_tables, told
from metatoken.report.space import item_map
from metatoken.report.subject import Subject
from metatoken.report.tokens import TokenFindings, token_section
from metatoken.report.training import training_section
from metatoken.report.words import next_steps, summary
from metatoken.run.compare import compare_runs

SIGN = "metatoken report"  # in the head of the page, by which an older report is told from another file


def write_report(runs: Sequence[str | Path], out: str | Path, *, resamples: int = 10_000, seed: int = 0) -> None:
    """Writes the page of `make_report` to a file, whole or not at all.

    Args:
        runs: Folders of evaluated runs.
        out: The file.
        resamples: How often users are drawn.
        seed: Seed of the draws, and of the examples.

    Raises:
        ArgumentError: The runs cannot be compared, see `metatoken.run.compare.compare_runs`.
        ArtifactError: A run was not evaluated, or a part of it is missing or altered.
    """
    page = make_report(runs, resamples=resamples, seed=seed)
    with atomic_file(out) as work:
        work.write_text(page, encoding="utf-8", newline="\n")


def make_report(runs: Sequence[str | Path], *, resamples: int = 10_000, seed: int = 0) -> str:
    """A page about one run, or about several with their comparison in front; the same bytes for the same runs.

    The arguments and errors are those of `write_report`.
    """
    document = compare_runs(runs, resamples=resamples, seed=seed)
    subjects = [Subject.read(Path(run), _rows_of(run, document, resamples, seed)) for run in runs]
    parts = [_about(subject, f"r{place}", seed) for place, subject in enumerate(subjects)]
    comparison = _comparison(document) if len(subjects) > 1 else None
    template = _environment().get_template("report.html")
    style = Markup(_read("style.css"))  # noqa: S704 (our own file)
    page = template.render(sign=SIGN, style=style, runs=parts, comparison=comparison, document=document)
    return page.strip() + "\n"


def _rows_of(run: str | Path, document: Mapping[str, Any], resamples: int, seed: int) -> list[dict[str, Any]]:
    """The rows of one run: those of its group where it is alone there."""
    group = next(one for one in document["groups"] if str(Path(run)) in one["runs"])
    if len(group["runs"]) > 1:
        document = compare_runs([run], resamples=resamples, seed=seed)
        group = document["groups"][0]
    return [row for row in document["rows"] if row["group"] == group["name"]]


def _about(subject: Subject, prefix: str, seed: int) -> dict[str, Any]:
    """All sections of one run."""
    log, found = log_section(subject, prefix), TokenFindings.of(subject)
    pictures = [forest(subject.rows, prefix), by_length_of_list(subject, prefix)]
    return {
        "name": "/".join(subject.folder.path.parts[-2:]),
        "prefix": prefix,
        "summary": summary(subject),
        "next": next_steps(subject, found, log["warnings"]),
        "log": log,
        "tokens": token_section(subject, found, prefix),
        "map": item_map(subject, prefix, seed),
        "training": training_section(subject, prefix),
        "tables": result_tables(subject.rows, subject.main),
        "pictures": [one for one in pictures if one is not None],
        "hits": hit_pictures(subject, prefix),
        "lists": list_examples(subject, seed),
        "answers": answer_examples(subject, seed),
        "costs": cost_section(subject),
    }


def _comparison(document: Mapping[str, Any]) -> dict[str, Any]:
    """Several runs side by side: what their groups are, every row, and what each has more than the first."""
    groups = document["groups"]
    names = {group["name"]: group["name"] for group in groups}
    several = len(groups) > 1
    tables = [
        {"group": group, "tables": result_tables([row for row in document["rows"] if row["group"] == group["name"]])}
        for group in groups
    ]
    return {
        "groups": tables,
        "picture": forest(document["rows"], "all", names if several else None),
        "between": [
            _between(row) for row in document["between"] if JUDGED in row["metrics"] and row["template"] != BASELINE
        ],
    }


def _between(row: Mapping[str, Any]) -> dict[str, str]:
    about = {name: row[name] for name in ("task", "template", "model")}
    return about | {"groups": " against ".join(row["groups"])} | told(row["metrics"][JUDGED])


def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_read), autoescape=select_autoescape(default=True), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip


def _shown(value: object) -> object:
    """Text of the user's as a page may hold it; markup, which is ours, as it is."""
    return printable(value) if type(value) is str else value


def _read(name: str) -> str:
    return files("metatoken.report").joinpath("page", name).read_text(encoding="utf-8")
