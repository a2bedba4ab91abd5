"""Attention of rows that begin with shared words, in one node of the autograd graph.

For each head, with queries Q of some positions, keys K and values V of those they may look at, a mask M and dropout D,

    S = softmax(Q K^T scale + M),    O = (S D) V.

The queries, keys and values of all positions are one table `[N, 3 d]`, the words of all sorts before the rows. As
single operations most of the time is spent on gradients of slices: each is a table of zeros with a part filled in, and
they are added up. Here every gradient is written once, to its place in the table's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where words and rows stand in a table, and who looks where. Shapes as those of a `Passage`.

    Attributes:
        rows: B.
        length: L, positions of a row.
        shared: P, positions of the words of each sort; 0 without words.
        sorts: W, sorts of words.
        words_of: int64 `[B]`, the words of each row; None without words.
        of_rows: float, broadcast to `[B, heads, L, P + L]`, what is added to the scores of rows.
        of_words: float `[P, P]`, the same for words among themselves.
    """

    rows: int
    length: int
    shared: int
    sorts: int
    words_of: Tensor | None
    of_rows: Tensor
    of_words: Tensor

    @property
    def begin(self) -> int:
        """First place of the rows."""
        return self.sorts * self.shared


class Looked(NamedTuple):
    """What the gradient of an attention needs, by head: queries, keys and values, S, D or None, and S D."""

    query: Tensor
    seen: Tensor
    soft: Tensor
    kept: Tensor | None
    weights: Tensor


class Attention(torch.autograd.Function):
    """O, float `[N, d]`, or `[B L, d]` where words do not ask.

    Args of `apply`:
        table: float `[N, 3 d]`, queries, keys and values.
        places: What stands where.
        heads: Attention heads.
        scale: Factor of the scores.
        kept: Dropout of rows and of words, `[B, heads, L, P + L]` and `[W, heads, P, P]`; None for none.
        asked: Whether words ask, too; else they are only looked at.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        table: Tensor,
        places: Places,
        heads: int,
        scale: float,
        kept: tuple[Tensor | None, Tensor | None],
        asked: bool,
    ) -> Tensor:
        words, rows = _by_head(table, places, heads)
        seen = rows[1:]
        if places.words_of is not None:
            seen = torch.cat([words[1:].index_select(1, places.words_of), seen], dim=3)
        looked = [_look(rows[0], seen, places.of_rows, kept[0], scale)]
        if asked and places.begin:
            looked.insert(0, _look(words[0], words[1:], places.of_words, kept[1], scale))
        ctx.places, ctx.heads, ctx.scale, ctx.size = places, heads, scale, table.shape
        ctx.save_for_backward(*(part for _, one in looked for part in one))
        return torch.cat([found for found, _ in looked]) if len(looked) > 1 else looked[0][0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        places, width = ctx.places, len(Looked._fields)
        saved = ctx.saved_tensors
        gradient = grads[0].new_empty(ctx.size)
        words, rows = _by_head(gradient, places, ctx.heads)
        asked = len(saved) > width
        begin = places.begin if asked else 0
        to_query, to_seen = _look_back(Looked(*saved[-width:]), grads[0][begin:], ctx.scale)
        rows[0], rows[1:] = to_query, to_seen[:, :, :, places.shared :]
        if places.words_of is not None:
            words.zero_()
            if asked:
                words[0], words[1:] = _look_back(Looked(*saved[:width]), grads[0][:begin], ctx.scale)
            of_words = torch.zeros(words[1:].shape)
            of_words.index_add_(1, places.words_of, to_seen[:, :, :, : places.shared])
            words[1:] += of_words
        return gradient, None, None, None, None, None


def _by_head(table: Tensor, places: Places, heads: int) -> tuple[Tensor, Tensor]:
    """Views of a table `[N, 3 d]`: words `[3, W, heads, P, d / heads]` and rows `[3, B, heads, L, d / heads]`."""
    words, rows = table[: places.begin], table[places.begin :]
    return (
        words.view(places.sorts, places.shared, 3, heads, -1 if places.begin else 1).permute(2, 0, 3, 1, 4),
        rows.view(places.rows, places.length, 3, heads, -1).permute(2, 0, 3, 1, 4),
    )


def _look(query: Tensor, seen: Tensor, mask: Tensor, kept: Tensor | None, scale: float) -> tuple[Tensor, Looked]:
    """O, `[R L, d]`, of queries `[R, heads, L, w]`, keys and values `[2, R, heads, K, w]`; what its gradient needs."""
    query, seen = query.contiguous(), seen.contiguous()
    soft = torch.softmax((query @ seen[0].transpose(2, 3)).mul_(scale).add_(mask), dim=-1)
    weights = soft if kept is None else soft * kept
    found = (weights @ seen[1]).transpose(1, 2)
    return found.reshape(-1, found.shape[2] * found.shape[3]), Looked(query, seen, soft, kept, weights)


def _look_back(looked: Looked, gradient: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Gradients of queries and of keys and values, given that of O `[R L, d]`."""
    query, seen, soft, kept, weights = looked
    rows, heads, length, width = query.shape
    by_found = gradient.view(rows, length, heads, width).transpose(1, 2).contiguous()
    by_soft = by_found @ seen[1].transpose(2, 3)
    if kept is not None:
        by_soft.mul_(kept)
    by_score = torch._softmax_backward_data(by_soft, soft, -1, soft.dtype).mul_(scale)  # noqa: SLF001
    to_seen = torch.stack([by_score.transpose(2, 3) @ query, weights.transpose(2, 3) @ by_found])
    return by_score @ seen[0], to_seen
