"""Where a log is and how to read it, as a configuration says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from metatoken.config import Settings, setting

Format = Literal["table", "sequences", "pairs", "sessions"]
SplitName = Literal["leave-last-out", "none"]


@dataclass(frozen=True)
class TextTableSettings(Settings):
    """A table of texts by user and item beside the log; the keys are those of `data.text_table.read_texts`."""

    path: Path = field()
    user: str = setting("user", "Column of user ids.")
    item: str = setting("item", "Column of item ids.")
    review: str | None = setting(None, "Column of reviews.")
    summary: str | None = setting(None, "Column of their summaries.")
    explanation: str | None = setting(None, "Column of explanations.")
    title: str | None = setting(None, "Column of item titles, for a log without an item table.")
    add_pairs: bool = setting(
        False, "Add pairs that the log lacks, as the last of their users; else, and with ratings, they are refused."
    )


@dataclass(frozen=True)
class LogSettings(Settings):
    """The files of a log, whose keys are those of `Interactions.read`, and what of it is held out."""

    path: Path = field()
    format: Format = setting("table", "table, sequences, pairs or sessions.")
    user: str = setting("user", "Column of user ids (tables only).")
    item: str = setting("item", "Column of item ids (tables only).")
    time: str | None = setting(
        None, "Column of times: numbers (unix time) or ISO 8601 dates; without it the order of the file counts."
    )
    rating: str | None = setting(None, "Column of ratings, finite numbers.")
    review: str | None = setting(None, "Column of reviews.")
    summary: str | None = setting(None, "Column of their summaries.")
    explanation: str | None = setting(None, "Column of explanations.")
    texts: TextTableSettings | None = setting(None, "Texts in a table of their own.")
    items: Path | None = setting(None, "A table about items, of which those in the log are kept.")
    item_id: str | None = setting(None, "Its column of item ids; by default item_id, else the name given as item.")
    title: str | None = setting(None, "Its column of titles; by default title where there is one.")
    categories: str | None = setting(
        None, 'Its column of categories (lists, or text split on "|"); by default categories where there is one.'
    )
    split: SplitName = setting(
        "leave-last-out", "What is held out: the last two items of each user, or none, for a model to be used."
    )
