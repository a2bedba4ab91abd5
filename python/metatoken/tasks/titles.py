"""Titles inside prompts: an item is written as its OOV tokens, then the words of its title, then a line end.

The title stands *behind* the tokens, so the state that predicts an item never has read its title, while every later
position has. The line end closes every item, with a title or without, so one kind of state predicts the next item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metatoken.tasks.prompts import TokenRows

ENDS = ("\n", ";", ".")  # the first that the tokenizer knows; a T5 has no line end


def titled_rows(tokenizer: Any, titles: Sequence[str], item_tokens: np.ndarray, *, base: int, limit: int) -> TokenRows:
    """Ids of every item with its title, tokenised once.

    Args:
        tokenizer: A Hugging Face tokenizer without the OOV tokens.
        titles: Of each item row; "" where unknown.
        item_tokens: int64 `[n_items, depth]` local token ids, -1 padded.
        base: First OOV id.
        limit: Text tokens of a title at most; the rest is cut off.

    Returns:
        Rows in the encoder's id space: OOV tokens, title, line end.
    """
    end = next(ids[-1:] for ids in (_ids(tokenizer, [mark])[0] for mark in ENDS) if ids)
    words = _ids(tokenizer, [f" {' '.join(title.split())}" if title.strip() else "" for title in titles])
    own = TokenRows(item_tokens, base)
    rows = [[*own.one(row).tolist(), *ids[:limit], *end] for row, ids in enumerate(words)]
    padded = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int64)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    return TokenRows(padded, 0)


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []
