"""Find what stands beside a log: the table about its items, and files of what others have held out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from metatoken.data.columns import RawTable, ids
from metatoken.data.files import suffix_of
from metatoken.data.guess_items import column_of_words, shared_ids
from metatoken.data.guess_text import dialect_of
from metatoken.data.readers import TABLES, read_raw, read_table
from metatoken.data.roles import CATEGORIES, TITLES, of_words
from metatoken.data.settings import Dialect
from metatoken.data.understood import Guess
from metatoken.errors import MetatokenError

MANY = 20  # files of a folder that are looked at
LARGE = 1 << 26  # bytes of one that is looked at
ENOUGH = 0.5  # share of the items that a table about them has
HELD_OUT = {"test_path": ("test", "testing"), "validation_path": ("validation", "valid", "val", "dev")}


def items_beside(found: Guess, table: RawTable) -> None:
    """Adds the table beside a log, `table`, that has most of its items, one row each, and says something of them.

    It has titles or categories by their names; or a column of words beside ids that are called as in the log.
    """
    if "items" in found.settings:
        return
    path = Path(found.settings["path"])
    taken = {Path(found.settings[name]) for name in HELD_OUT if name in found.settings}
    item = found.settings.get("item", "item")
    known = set(ids(table, item, "item"))
    best: tuple[bool, int, Path] | None = None
    for file in _tables_beside(path):
        if file in taken:
            continue
        try:
            items = read_table(file, None, Dialect.read(dialect_of({}, file)))
        except MetatokenError:
            continue
        shared = 0 if found.settings.get("user", "user") in items.names else _most_shared(known, items)
        titled = of_words(TITLES, items.names) is not None
        named = titled or of_words(CATEGORIES, items.names) is not None
        if shared >= ENOUGH * len(known) and (named or (item in items.names and column_of_words(items, item))):
            best = max(best or (False, 0, file), (titled, shared, file), key=lambda one: one[:2])
    if best is not None:
        found.add("items", best[2], f"stands beside the log and has {best[1]:,} of its {len(known):,} items")


def _tables_beside(path: Path) -> Iterator[Path]:
    """Other tables in the folder of a file; none of a folder of many files, whose tables are parts of one."""
    try:
        files = [one for one in sorted(path.parent.iterdir()) if one.name[0] not in "._" and suffix_of(one) in TABLES]
    except OSError:  # a folder that may not be listed
        return
    if len(files) <= MANY:
        yield from (one for one in files if one.is_file() and one.stat().st_size <= LARGE and not one.samefile(path))


def _most_shared(known: set[str], items: RawTable) -> int:
    """Items of a log that a table has in the column that names most of them; 0 where it names one twice."""
    shared = {name: shared_ids(known, items, name) for name in items.frame.columns}
    name = max(shared, key=shared.__getitem__, default="")
    return shared[name] if shared.get(name) and not ids(items, name, "item_id").is_duplicated().any() else 0


def held_out_beside(found: Guess, table: RawTable) -> None:
    """Adds `test.csv` beside `train.csv`, and `valid.csv`, where most of their users are known to it."""
    path, form = Path(found.settings["path"]), found.settings.get("format", "table")
    part = re.search(r"(?<![^\W\d_])train(ing)?(?![^\W\d_])", path.name, flags=re.IGNORECASE)
    if part is None or form == "sessions" or "split" in found.settings:
        return
    user, item = found.settings.get("user", "user"), found.settings.get("item", "item")
    known, files = set(ids(table, user, "user")), {}
    for name, words in HELD_OUT.items():
        for word in words:
            file = path.with_name(f"{path.name[: part.start()]}{word}{path.name[part.end() :]}")
            if name not in files and file.is_file() and _continues(file, form, found.dialect(), known, user, item):
                files[name] = file
    if "test_path" in files:
        found.add("split", "files", "a file of what is held out stands beside the log")
        for name, file in files.items():
            found.add(name, file, "most of its users are in the log")


def _continues(file: Path, form: str, dialect: Dialect, known: set[str], user: str, item: str) -> bool:
    """Whether a file is written as a log is, and most of its users are known."""
    try:
        users = set(ids(read_raw(file, form, [user, item], dialect), user, "user"))
    except MetatokenError:
        return False
    return len(known & users) >= ENOUGH * len(users)
