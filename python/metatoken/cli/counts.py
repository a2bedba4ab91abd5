"""Counts on the command line: a million is typed as 1e6, 1_000_000 or 1000000."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import typer

from metatoken.config import shown

MOST = 10**15
COUNT = re.compile(r"[0-9][0-9_]{0,20}|[0-9]{1,6}(\.[0-9]{1,6})?[eE]\+?[0-9]{1,2}")


def parse_count(text: Any) -> int:
    """A count such as 3e7 as an integer; `typer.BadParameter` for what is none."""
    if isinstance(text, int):
        return text
    number = float(text.replace("_", "")) if COUNT.fullmatch(text) else -1.0
    if not (number.is_integer() and 1 <= number <= MOST):
        raise typer.BadParameter(f"expected a count of at least 1 such as 250000 or 3e7, got {shown(text)}")
    return int(number) if "e" in text.lower() else int(text.replace("_", ""))


count_option = partial(typer.Option, parser=parse_count, metavar="COUNT", show_default=False)
