"""What was scored as tables of raw ids, and as plain files from which anyone can recompute the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from metatoken.artifacts import atomic_file, read_frame, write_frame
from metatoken.artifacts.places import NAME
from metatoken.artifacts.writing import check_outside, check_writable, exchange_files, resolved
from metatoken.errors import ArgumentError, DataError
from metatoken.tasks.task import known_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.data.split import Part, Split
    from metatoken.tasks.pairs import Pairs

ANSWERS_FILE = "answers.jsonl"
LABELS = dict.fromkeys(("task", "template", "split", "model", "user"), pl.String())
SCHEMA = pl.Schema({**LABELS, "rank": pl.Int32(), "item": pl.String(), "score": pl.Float32()})
ANSWERS = pl.Schema({**LABELS, **dict.fromkeys(("item", "answer", "reference"), pl.String())})


def predictions_frame(
    log: Interactions,
    users: NDArray[np.int32],
    recommendations: NDArray[np.int32],
    scores: NDArray[np.float32],
    *,
    task: str,
    template: str,
    split: Part,
    model: str,
) -> pl.DataFrame:
    """One row for each recommendation, ids as in the user's own data.

    Args:
        log: Has the raw ids of the rows.
        users: int32 [m] user rows.
        recommendations: int32 [m, k] item rows, best first. Rows that are no item (-1 where nothing is recommended)
            are left out; the ranks of the others stay.
        scores: float32 [m, k].
        task: E.g. "sequential".
        template: Name of the prompt template.
        split: Part whose targets are to be found, "validation" or "test".
        model: E.g. "fused".

    Returns:
        Columns task, template, split, model, user, rank (int32 from 1), item, score (float32), in the order of `users`
        and rank.

    Raises:
        ArgumentError: The shapes do not fit.
    """
    if recommendations.ndim != 2 or scores.shape != recommendations.shape or users.shape != recommendations.shape[:1]:
        shapes = [list(array.shape) for array in (users, recommendations, scores)]
        raise ArgumentError("recommendations", f"expected shapes [m], [m, k] and [m, k], got {shapes}")
    user, place = np.nonzero((recommendations >= 0) & (recommendations < log.n_items))
    values = {
        "user": log.users.column(users[user]),
        "rank": place + 1,
        "item": log.items.column(recommendations[user, place]),
        "score": scores[user, place],
    }
    return _labelled(values, SCHEMA, task=task, template=template, split=split, model=model)


def answers_frame(
    log: Interactions, held: Pairs, answers: Sequence[str], *, template: str, split: str, model: str
) -> pl.DataFrame:
    """One row for each held-out pair that was asked about.

    Args:
        log: Has the raw ids of the rows.
        held: The pairs and the true answers.
        answers: Texts, or numbers as text, in the order of `held`.
        template: Id of the template, "-" for a baseline.
        split: Part that the pairs are of, "validation" or "test".
        model: E.g. "written", "rating_head", "biases".

    Returns:
        The columns of `ANSWERS`, all text. Numbers are written so that `float` gives them back exactly.
    """
    ids = {"user": log.users.column(held.users), "item": log.items.column(held.items)}
    values = ids | {"answer": list(answers), "reference": list(held.known)}
    return _labelled(values, ANSWERS, task=held.task.name, template=template, split=split, model=model)


def _labelled(values: Mapping[str, Any], schema: pl.Schema, **labels: str) -> pl.DataFrame:
    frame = pl.DataFrame(values).with_columns(pl.lit(text).alias(name) for name, text in labels.items())
    return frame.select(schema.names()).cast(schema)


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Writes a table of `predictions_frame` or `answers_frame` (or several, concatenated), whole or not at all.

    Raises:
        ArgumentError: The table is another one.
    """
    if frame.schema not in (SCHEMA, ANSWERS):
        raise ArgumentError(
            "frame", f"expected the columns {dict(SCHEMA)} or {dict(ANSWERS)}, got {dict(frame.schema)}"
        )
    with atomic_file(path) as file:
        write_frame(file, frame)


def read_table(path: str | Path, schema: pl.Schema = SCHEMA) -> pl.DataFrame:
    """Reads what `write_table` wrote.

    Raises:
        ArtifactError: The file is missing, is not Parquet, or lacks a column.
    """
    return read_frame(Path(path), schema).select(schema.names())


def export_answers(frame: pl.DataFrame, folder: str | Path, *, part: str = "test") -> Path:
    """Writes the rows of a part as JSON lines, `answers.jsonl`, beside what is in a folder."""
    path = Path(folder) / ANSWERS_FILE
    with atomic_file(path) as file:
        frame.filter(pl.col("split") == part).write_ndjson(file)
    return path


def check_export(split: Split, folder: str | Path, *, part: Part = "test") -> None:
    """Refuses what `export_plain` would refuse, before anything is scored.

    Raises:
        DataError: An id is empty or contains white space.
        ArgumentError: `folder` is a file, or holds one of a name that an export gives, and no export.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ArgumentError("folder", f"{folder} is a file; give a folder to write to")
    check_outside(resolved(folder))
    check_writable(resolved(folder))
    names = [one.name for one in Path(folder).iterdir()] if Path(folder).is_dir() else []
    if (own := sorted(filter(_is_exported, names))) and not _was_exported(Path(folder), names):
        said = f"{folder} holds {own[0]}, which no export has written there"
        raise ArgumentError("folder", f"{said}; give another folder, or remove it yourself")
    _refuse_blanks(split.log.items.raw, "item")
    _refuse_blanks((split.log.users.raw[u] for u in split.targets(part).users), "user")


def export_plain(
    predictions: pl.DataFrame,
    split: Split,
    folder: str | Path,
    *,
    part: Part = "test",
    answers: pl.DataFrame | None = None,
) -> list[Path]:
    """Writes predictions and what they are judged by as text files, so that any script can recompute the metrics.

    - `truth.tsv`: `user<TAB>item`, the held-out item of each evaluated user
    - `history.txt`: `user item item ...`, what each of them had seen, oldest first
    - `catalogue.txt`: one item per line
    - `<task>.<template>.<model>.tsv`: `user<TAB>rank<TAB>item`, for each such combination in `predictions`; those of an
      earlier export go
    - `answers.jsonl`: `answers`, where they are given

    A folder of its own appears, or is exchanged, whole. In one that holds other files, too, `truth.tsv` goes first and
    comes last, so that files of two exports are never taken for one.

    Args:
        predictions: Columns of `predictions_frame`; rows of the other part are ignored.
        split: Has the held-out items, the histories and the raw ids.
        folder: Where to write; files of these names are replaced.
        part: Part that is exported.
        answers: Columns of `answers_frame`; rows of the other part are ignored.

    Returns:
        The files of predictions, sorted by name.

    Raises:
        DataError: An id is empty or contains white space, which separates the columns of these files; nothing is
            written.
        ArgumentError: `folder` is a file, or the name of a task, template or model cannot stand in a file name.
        ArtifactError: The folder cannot be written.
    """
    check_export(split, folder, part=part)
    shares = predictions.filter(pl.col("split") == part).partition_by("task", "template", "model", as_dict=True)
    files = {_file_name(*map(str, key)): share.sort("user", "rank") for key, share in sorted(shares.items())}

    def write(work: Path) -> None:
        _write_truth(work, split, part)
        for name, share in files.items():
            rows = share.select("user", "rank", "item").iter_rows()
            _write(work / name, (f"{user}\t{rank}\t{item}" for user, rank, item in rows))
        if answers is not None:
            answers.filter(pl.col("split") == part).write_ndjson(work / ANSWERS_FILE)

    exchange_files(Path(folder), write, _is_exported, last="truth.tsv")
    return [Path(folder) / name for name in sorted(files)]


def _write_truth(work: Path, split: Split, part: Part) -> None:
    """What predictions are judged by."""
    users, items, targets, history = split.log.users.raw, split.log.items.raw, split.targets(part), split.history(part)
    pairs = zip(targets.users, targets.items, strict=True)
    _write(work / "truth.tsv", (f"{users[u]}\t{items[i]}" for u, i in pairs))
    _write(work / "history.txt", (" ".join([users[u], *(items[i] for i in history[u])]) for u in targets.users))
    _write(work / "catalogue.txt", items)


def _is_exported(name: str) -> bool:
    """Whether a file is one that an export writes."""
    ranked = name.endswith(".tsv") and name.count(".") == 3 and name.partition(".")[0] in known_tasks()
    return ranked or name in {"truth.tsv", "history.txt", "catalogue.txt", ANSWERS_FILE}


def _was_exported(folder: Path, names: Iterable[str]) -> bool:
    """Whether files that have the names of an export are one, or the half of one that was killed."""
    if any(map(NAME.fullmatch, names)):  # the work folder of a writer that died before it had put `truth.tsv`
        return True
    users = []
    for name in ("truth.tsv", "history.txt"):
        try:
            users.append([line.split()[:1] for line in (folder / name).read_text(encoding="utf-8").splitlines()])
        except (OSError, ValueError):
            return False
    return users[0] == users[1]


def _refuse_blanks(ids: Iterable[str], kind: str) -> None:
    for raw in ids:
        if raw.split() != [raw]:
            raise DataError(
                f"the {kind} id {raw!r} is empty or contains white space and cannot be written to the plain files, "
                "whose columns white space separates; use predictions.parquet, or rename the id in the log"
            )


def _file_name(*parts: str) -> str:
    name = ".".join((*parts, "tsv"))
    if name.startswith(".") or set(name) & set('/\\:*?"<>|\0\n'):
        raise ArgumentError("predictions", f"task, template and model must fit in a file name, got {parts}")
    return name


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
