"""Answers many requests batch by batch and writes them to one file, whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from metatoken.artifacts import atomic_file
from metatoken.artifacts.writing import check_name
from metatoken.bounds import check_integer
from metatoken.errors import ArgumentError
from metatoken.recommend.columns import NOTHING, Columns

if TYPE_CHECKING:
    from metatoken.recommend.recommender import Recommender
    from metatoken.recommend.requests import Answer, Prepared

Write = Callable[[Iterable["Answer"]], None]
SCHEMA = pa.schema(
    {"user": pa.string(), "rank": pa.int32(), "item": pa.string(), "title": pa.string(), "score": pa.float32()}
)
GROUP = 1 << 17  # rows of a Parquet row group


@dataclass
class Counts:
    """What was written.

    Attributes:
        users: Answers.
        items: Recommendations in them.
        short: Answers with fewer than the k items that were asked for.
        unknown: Ids in histories that are no items of the run.
        example: One of these.
    """

    users: int = 0
    items: int = 0
    short: int = 0
    unknown: int = 0
    example: str = ""

    def add(self, one: Prepared, answer: Answer) -> None:
        """Counts one answer."""
        self.users += 1
        self.items += len(answer.items)
        self.short += len(answer.items) < one.request.k
        self.unknown += len(answer.unknown_history)
        self.example = self.example or next(iter(answer.unknown_history), "")


@dataclass(frozen=True)
class Listed:
    """What came of a job.

    Attributes:
        counts: What was written.
        skipped: Unknown users that were left out.
        listed: Ids of `allow` and `deny` that are no items of the run.
        resumed: Whether shards of an earlier attempt were used.
    """

    counts: Counts
    skipped: int
    listed: tuple[str, ...]
    resumed: bool = False


def stream(recommender: Recommender, prepared: Iterable[Prepared], write: Write, *, batch_size: int = 256) -> Counts:
    """Answers requests as they come, in their order.

    Args:
        recommender: Answers.
        prepared: Requests; a lazy source is read a batch at a time.
        write: Gets the answers of each batch.
        batch_size: Requests in a batch.

    Raises:
        ArgumentError: `batch_size` is no integer of at least 1.
    """
    check_integer("batch_size", batch_size)
    counts, source = Counts(), iter(prepared)
    while part := list(islice(source, batch_size)):
        answers = recommender.run(part)
        for one, answer in zip(part, answers, strict=True):
            counts.add(one, answer)
        write(answers)
    return counts


@contextmanager
def writer(path: str | Path, columns: Columns = NOTHING) -> Iterator[Write]:
    """A file of answers that appears under its name only when it is complete.

    Args:
        path: `.parquet`, `.csv` and `.tsv` hold a row for each recommendation: user (null without one), rank, item,
            title, score. `.jsonl` holds an object for each user, which names unknown items, too.
        columns: What each recommendation gets besides.

    Yields:
        A function that appends answers.

    Raises:
        ArgumentError: The name ends in something else.
        ArtifactError: The file cannot be written there.
    """
    kinds: dict[str, Callable[[Path, Columns], AbstractContextManager[Write]]] = {
        ".parquet": _parquet, ".jsonl": _json_lines, ".csv": _csv, ".tsv": _csv,
    }  # fmt: skip
    kind = kinds.get(Path(path).suffix.lower())
    if kind is None:
        raise ArgumentError("out", f"expected a name that ends in {', '.join(kinds)}; got {path}")
    with atomic_file(path) as work, kind(work, columns) as write:
        yield write


def rows(answers: Iterable[Answer]) -> Iterator[tuple[str | None, int, str, str, float]]:
    """User, rank, item, title and score of each recommendation."""
    for answer in answers:
        for one in answer.items:
            yield answer.user, one.rank, one.item, one.title, one.score


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    schema = pa.schema([*SCHEMA, *columns.frame.head(0).to_arrow().schema])
    check_name(path)
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        waiting: list[tuple[Any, ...]] = []

        def flush() -> None:
            if waiting:
                values = zip(*waiting, strict=True)
                file.write_table(pa.table(dict(zip(schema.names, values, strict=True)), schema=schema))
                waiting.clear()

        def write(answers: Iterable[Answer]) -> None:
            waiting.extend((*row, *columns.row(row[2])) for row in rows(answers))
            if len(waiting) >= GROUP:
                flush()

        yield write
        flush()


@contextmanager
def _json_lines(path: Path, columns: Columns) -> Iterator[Write]:
    def line(answer: Answer) -> str:
        document = asdict(answer)
        for one in document["items"]:
            one |= dict(zip(columns.names, columns.row(one["item"]), strict=True))
        return json.dumps(document, ensure_ascii=False) + "\n"

    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda answers: file.writelines(map(line, answers))


@contextmanager
def _csv(path: Path, columns: Columns) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        form: dict[str, Any] = {"delimiter": "\t" if path.suffix.lower() == ".tsv" else ",", "lineterminator": "\n"}
        table = csv.writer(file, **form)
        # Readers take a carriage return for the end of a line, which the writer leaves without quotation marks.
        quoted = csv.writer(file, quoting=csv.QUOTE_ALL, **form)
        table.writerow([*SCHEMA.names, *columns.names])

        def write(answers: Iterable[Answer]) -> None:
            for plain in rows(answers):
                row = (*plain, *columns.texts(plain[2]))
                broken = any(isinstance(value, str) and "\r" in value for value in row)
                (quoted if broken else table).writerow(row)

        yield write
