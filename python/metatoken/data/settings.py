"""Where a log is and how to read it, as a configuration says it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from metatoken.config import SettingError, Settings, setting
from metatoken.data.parsing import BORDERS, cut_in_time, is_zone, parse_columns, parse_moment, parse_separator

if TYPE_CHECKING:
    from collections.abc import Mapping

Format = Literal["table", "sequences", "pairs", "sessions"]
SplitName = Literal["leave-last-out", "time", "ratio", "part", "files", "none"]
ITS_OWN = ("separator", "encoding", "columns")  # of the item table, where it is not as the log
READING, KEEPING, ITEMS, HOLDING = "Reading the log", "What is kept of it", "Item table", "What is held out"


@dataclass(frozen=True)
class TextTableSettings(Settings):
    """A table of texts by user and item beside the log; the keys are those of `data.text_table.read_texts`."""

    path: Path = field()
    user: str = setting("user", "Column of user ids.")
    item: str = setting("item", "Column of item ids.")
    review: str | None = setting(None, "Column of reviews.")
    summary: str | None = setting(None, "Column of their summaries.")
    explanation: str | None = setting(None, "Column of explanations.")
    feature: str | None = setting(None, "Column of what a text is to be about, in words; known when one asks.")
    title: str | None = setting(None, "Column of item titles, for a log without an item table.")
    add_pairs: bool = setting(
        False, "Add pairs that the log lacks, as the last of their users; else, and with ratings, they are refused."
    )


@dataclass(frozen=True)
class Dialect(Settings):
    """Where a table is, and how its text is written."""

    path: Path | None = setting(None, "A file, a folder, or a pattern such as logs/2024-*.csv.gz.")
    separator: str | None = setting(
        None,
        "Separator of a table's columns, by default a comma or (.tsv) a tab; of lines, a blank.",
        parse=parse_separator,
        group=READING,
    )
    quote: str | None = setting(
        None, 'Quotation mark of a table, by default " in .csv and none in .tsv; "" means none.', group=READING
    )
    encoding: str = setting("utf-8", "Encoding of text files, e.g. latin-1, cp1252, utf-16.", group=READING)
    decimal: Literal[".", ","] = setting(".", "Decimal mark of ratings, prices and other numbers.", group=READING)
    columns: tuple[str, ...] | None = setting(
        None, "Names of the columns of a text table that has no header.", parse=parse_columns, group=READING
    )

    def check(self) -> None:
        """Refuses marks that cannot be told apart, and encodings that Python does not know."""
        if self.separator is not None and (not self.separator or set(self.separator) & set("\r\n")):
            raise SettingError(("separator",), f"expected one or more characters of a line, got {self.separator!r}")
        marks = ("\r", "\n", "\0", *(self.separator or ""))
        if self.quote is not None and (len(self.quote) > 1 or not self.quote.isascii() or self.quote in marks):
            said = f'expected one ASCII character that is not the separator, or "", got {self.quote!r}'
            raise SettingError(("quote",), said)
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise SettingError(("encoding",), f"expected a name such as utf-8, got {self.encoding!r}") from error


@dataclass(frozen=True)
class LogSettings(Dialect):
    """A log, whose keys are also the arguments of `Interactions.read`, and what of it is held out."""

    uri: str | None = setting(
        None, "A database in place of a file: sqlite:///FILE, duckdb:///FILE, postgresql://...", group=READING
    )
    query: str | None = setting(None, "What to ask the database: SELECT ...", group=READING)
    format: Format = setting("table", "table, sequences, pairs or sessions.", group=READING)
    user: str = setting("user", "Column of user ids (tables only).", group=READING)
    item: str = setting("item", "Column of item ids (tables only).", group=READING)
    time: str | None = setting(
        None,
        "Column of times: numbers (unix time) or ISO 8601 dates; without it the order of the file counts.",
        group=READING,
    )
    time_format: str | None = setting(
        None, "How other dates are written, e.g. %d.%m.%Y %H:%M (as in strftime).", group=READING
    )
    time_zone: str | None = setting(
        None, "Zone of dates that name none, e.g. Europe/Berlin; by default UTC.", group=READING
    )
    rating: str | None = setting(None, "Column of ratings, finite numbers; empty where there is none.", group=READING)
    review: str | None = setting(None, "Column of reviews.", group=READING)
    summary: str | None = setting(None, "Column of their summaries.", group=READING)
    explanation: str | None = setting(None, "Column of explanations.", group=READING)
    feature: str | None = setting(
        None, "Column of what a text is to be about, in words; known when one asks.", group=READING
    )
    texts: TextTableSettings | None = setting(None, "Texts in a table of their own.")
    where: str | None = setting(
        None, "Which rows count, e.g. event == 'buy' and stars >= 3 (a filter over the file's columns).", group=KEEPING
    )
    since: str | None = setting(None, "Only rows at this time or later.", parse=parse_moment, group=KEEPING)
    until: str | None = setting(None, "Only rows before this time.", parse=parse_moment, group=KEEPING)
    min_user: int = setting(1, "Least rows of a user; with min_item until both hold (k-core).", ge=1, group=KEEPING)
    min_item: int = setting(1, "Least rows of an item.", ge=1, group=KEEPING)
    items: Path | None = setting(None, "A table about items, of which those in the log are kept.", group=ITEMS)
    item_id: str | None = setting(
        None, "Its column of item ids; by default item_id, else the name given as item.", group=ITEMS
    )
    title: str | None = setting(None, "Its column of titles; by default title where there is one.", group=ITEMS)
    items_separator: str | None = setting(
        None,
        "Its separator; by default that of the log, where the names of both files end alike.",
        parse=parse_separator,
        group=ITEMS,
    )
    items_encoding: str | None = setting(None, "Its encoding; by default that of the log.", group=ITEMS)
    items_columns: tuple[str, ...] | None = setting(
        None, "Names of its columns, if it has no header.", parse=parse_columns, group=ITEMS
    )
    categories: str | None = setting(
        None,
        'Its column of categories (lists, or text split on "|"); by default categories where there is one.',
        group=ITEMS,
    )
    split: SplitName = setting(
        "leave-last-out",
        "What is held out: the last two items of each user (leave-last-out), what came later (time), the last of each "
        "history (ratio), what a column says (part), other files (files), or none, for a model to be used.",
        group=HOLDING,
    )
    validation_from: str | None = setting(
        None,
        "For split time: validation begins here; by default it is the last row of each history before the test.",
        parse=parse_moment,
        group=HOLDING,
    )
    test_from: str | None = setting(
        None,
        "For split time: test begins here, at a date, or after a share of the rows; by default 80%.",
        parse=parse_moment,
        group=HOLDING,
    )
    validation_share: float = setting(
        0.1, "For split ratio: share of each history for validation.", ge=0, lt=1, group=HOLDING
    )
    test_share: float = setting(0.1, "For split ratio: share of each history for test.", gt=0, lt=1, group=HOLDING)
    part: str | None = setting(
        None,
        "For split part: column that says train, validation or test.",
        group=HOLDING,
    )
    validation_path: Path | None = setting(
        None,
        "For split files: rows for validation, written as those of path; by default the last of each history in path.",
        group=HOLDING,
    )
    test_path: Path | None = setting(None, "For split files: rows for test, written as those of path.", group=HOLDING)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The same as of any section; `split` may also be `{time: 80%}`, see `cut_in_time`."""
        return super().read(cut_in_time(values))

    def check(self) -> None:
        """Refuses settings that have no effect together."""
        super().check()
        if (self.path is None) == (self.uri is None):
            if self.uri is None:
                raise SettingError(("path",), "is missing", "missing")
            raise SettingError(("uri",), f"expected either a file or a database, got both ({self.path})")
        if (self.uri is None) != (self.query is None):
            raise SettingError(("query",), "goes with uri: a database and what to ask it, or neither")
        self._check_columns()
        self._check_split()

    def beside(self, path: Path | str) -> Dialect:
        """How a table beside the log is written: as the log, but what depends on the ending of a name."""
        alike = self.path is not None and Path(path).suffix == self.path.suffix
        separator, quote = (self.separator, self.quote) if alike else (None, None)
        return Dialect(path=Path(path), separator=separator, quote=quote, encoding=self.encoding, decimal=self.decimal)

    @property
    def items_dialect(self) -> Dialect:
        """How the item table is written."""
        own = {name: value for name in ITS_OWN if (value := getattr(self, f"items_{name}")) is not None}
        return replace(self.beside(str(self.items)), **own)

    def _check_columns(self) -> None:
        named = {name: getattr(self, name) for name in ("time", "rating", "review", "summary", "explanation", "part")}
        given = {name: column for name, column in named.items() if column is not None}
        if self.format != "table":
            for name in [*given, *(["where"] if self.where else []), *(["uri"] if self.uri else [])]:
                raise SettingError((name,), f"format={self.format!r} has no named columns, only format='table' has")
        elif self.item == self.user:
            raise SettingError(("item",), f"column {self.item!r} is already used for user")
        for name, column in given.items():
            if self.format == "table" and column in (self.user, self.item):
                taken = "user" if column == self.user else "item"
                raise SettingError((name,), f"column {column!r} is already used for {taken}")
        self._check_companions()

    def _check_companions(self) -> None:
        if self.time_format is not None and "%" not in self.time_format:
            raise SettingError(("time_format",), f"expected a form such as %d.%m.%Y %H:%M, got {self.time_format!r}")
        if self.time_zone is not None and not is_zone(self.time_zone):
            raise SettingError(("time_zone",), f"expected a name such as Europe/Berlin, got {self.time_zone!r}")
        if self.items is None:
            for name in ("item_id", "title", "categories", *(f"items_{one}" for one in ITS_OWN)):
                if getattr(self, name) is not None:
                    raise SettingError((name,), "is about the item table; give its file as items")
        if self.time is None:
            for name in ("time_format", "time_zone", "since", "until"):
                if getattr(self, name) is not None:
                    raise SettingError((name,), "is about times; name their column with time")

    def _check_split(self) -> None:
        # A split of none may follow on the same file, for the final model.
        for name in BORDERS:
            if getattr(self, name) is not None and self.split not in ("time", "none"):
                raise SettingError((name,), "is for split time")
        if self.validation_from is not None and self.test_from is None:
            raise SettingError(("test_from",), "goes with validation_from: where validation ends")
        if self.split == "time" and self.time is None:
            raise SettingError(("split",), "time needs the column of times; name it with time")
        if (self.part is None) == (self.split == "part") and self.split != "none":
            raise SettingError(("part",), "goes with split part: a column that says train, validation or test")
        self._check_split_files()
        if self.items is not None:
            try:
                self.items_dialect.check()
            except SettingError as error:
                raise SettingError((f"items_{error.path[-1]}",), error.said) from error
        self._check_shares()

    def _check_shares(self) -> None:
        for name in ("validation_share", "test_share"):
            if getattr(self, name) != getattr(type(self), name) and self.split not in ("ratio", "none"):
                raise SettingError((name,), "is for split ratio")
        if self.validation_share + self.test_share >= 1:
            raise SettingError(("test_share",), "expected validation_share and test_share to sum to less than 1")

    def _check_split_files(self) -> None:
        if self.split == "files" and self.test_path is None:
            raise SettingError(("test_path",), "is needed for split files")
        for name in ("validation_path", "test_path"):
            if getattr(self, name) is None:
                continue
            if self.split not in ("files", "none"):
                raise SettingError((name,), "is for split files")
            if self.path is None:
                raise SettingError((name,), "goes with path; of a database, select a column for split part")
            if self.format == "sessions":
                raise SettingError((name,), "of sessions has no users that come again, so nothing precedes its rows")
