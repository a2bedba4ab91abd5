"""Attention of rows that begin with shared words, in one node of the autograd graph.

For each head, with queries Q of some positions, keys K and values V of those they may look at, a mask M and dropout D,

    S = softmax(Q K^T scale + M),    O = (S D) V.

The queries, keys and values of all positions are one table, the words of all sorts before the rows. Where several heads
share keys and values, their queries are rows of one product. As single operations most of the time is spent on
gradients of slices: each is a table of zeros with a part filled in, and they are added up. Here every gradient is
written once, to its place in the table's. Scores and softmax are float32; the other products are of the table's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from metatoken.model.backbone.passage import Passage


@dataclass(frozen=True)
class Places:
    """Where words and rows stand in a table, and who looks where. Shapes as those of a `Passage`.

    Attributes:
        rows: B.
        length: L, positions of a row.
        shared: P, positions of the words of each sort; 0 without words.
        sorts: W, sorts of words.
        words_of: int64 `[B]`, the words of each row; None without words.
        of_rows: float, broadcast to `[B, K, H / K, L, P + L]`, what is added to the scores of rows.
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


def places_of(passage: Passage) -> Places:
    """What stands where, minus infinity added to the scores where nobody looks.

    Padding stands on the right, where no position but padding looks.
    """
    rows, length, shared = len(passage.mask), passage.mask.shape[1], passage.shared
    least = torch.finfo(torch.float32).min
    causal = torch.full((max(length, shared),) * 2, least).triu_(1)
    of_rows, of_words = causal[:length, :length], causal[:shared, :shared]
    if passage.words_mask is None or passage.words_of is None:
        return Places(rows, length, 0, 0, None, of_rows, of_words)
    hidden = (1 - passage.words_mask).float().mul_(least).index_select(0, passage.words_of)[:, None]
    of_rows = torch.cat([hidden.expand(-1, length, -1), of_rows.expand(rows, -1, -1)], dim=2)[:, None, None]
    return Places(rows, length, shared, len(passage.words_mask), passage.words_of, of_rows, of_words)


class Looked(NamedTuple):
    """What the gradient of an attention needs, by head: queries, keys and values, S, D or None, and S D."""

    query: Tensor
    seen: Tensor
    soft: Tensor
    kept: Tensor | None
    weights: Tensor


class Attention(torch.autograd.Function):
    """O, `[N, H w]` of the table's dtype, or `[B L, H w]` where words do not ask.

    Args of `apply`:
        table: float32 or bfloat16 `[N, (H + 2 K) w]`: queries of H heads, keys and values of K heads, of width w.
        places: What stands where.
        heads: H and K; each head of keys and values is that of H / K neighboring heads of queries.
        scale: Factor of the scores.
        kept: Dropout of rows and of words, `[B, H, L, P + L]` and `[W, H, P, P]`; None for none.
        asked: Whether words ask, too; else they are only looked at.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        table: Tensor,
        places: Places,
        heads: tuple[int, int],
        scale: float,
        kept: tuple[Tensor | None, Tensor | None],
        asked: bool,
    ) -> Tensor:
        words, rows = _by_head(table, places, heads)
        seen = rows.seen
        if places.words_of is not None:
            seen = torch.cat([words.seen.index_select(1, places.words_of), seen], dim=3)
        looked = [_look(rows.query, seen, places.of_rows, kept[0], scale)]
        if asked and places.begin:
            looked.insert(0, _look(words.query, words.seen, places.of_words, kept[1], scale))
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
        rows.query.copy_(to_query)
        rows.seen.copy_(to_seen[:, :, :, places.shared :])
        if places.words_of is not None:
            gradient[: places.begin].zero_()
            if asked:
                to_words = _look_back(Looked(*saved[:width]), grads[0][:begin], ctx.scale)
                words.query.copy_(to_words[0])
                words.seen.copy_(to_words[1])
            of_words = grads[0].new_zeros(words.seen.shape)
            of_words.index_add_(1, places.words_of, to_seen[:, :, :, : places.shared])
            words.seen.add_(of_words)
        return gradient, None, None, None, None, None


class ByHead(NamedTuple):
    """Views of some rows of a table: queries `[R, K, H / K, L, w]`, keys and values `[2, R, K, L, w]`."""

    query: Tensor
    seen: Tensor


def _by_head(table: Tensor, places: Places, heads: tuple[int, int]) -> tuple[ByHead, ByHead]:
    """Views of words, whose R is W and whose L is P, and of rows, R = B."""
    asking, shown = heads
    width = table.shape[1] // (asking + 2 * shown)

    def view(part: Tensor, rows: int, length: int) -> ByHead:
        query, seen = part[:, : asking * width], part[:, asking * width :]
        query = query.view(rows, length, shown, asking // shown, width).permute(0, 2, 3, 1, 4)
        return ByHead(query, seen.view(rows, length, 2, shown, width).permute(2, 0, 3, 1, 4))

    begin = places.begin
    return view(table[:begin], places.sorts, places.shared), view(table[begin:], places.rows, places.length)


def _look(query: Tensor, seen: Tensor, mask: Tensor, kept: Tensor | None, scale: float) -> tuple[Tensor, Looked]:
    """O, `[R L, H w]`, of queries `[R, K, H / K, L, w]`, keys and values `[2, R, K, M, w]`; what its gradient needs."""
    shape, seen = query.shape, seen.contiguous()
    query = query.flatten(2, 3)  # copied, so that the heads of a key are rows of one product
    scores = (query.float() @ seen[0].float().transpose(2, 3)).mul_(scale)
    soft = torch.softmax(scores.view(*shape[:4], -1).add_(mask), dim=-1)
    weights = soft if kept is None else soft * kept.view(soft.shape)
    soft, weights = (part.to(seen.dtype).flatten(2, 3) for part in (soft, weights))
    found = (weights @ seen[1]).view(shape).permute(0, 3, 1, 2, 4)
    return found.reshape(shape[0] * shape[3], -1), Looked(query, seen, soft, kept, weights)


def _look_back(looked: Looked, gradient: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Gradients of queries and of keys and values, given that of O `[R L, H w]`."""
    query, seen, soft, kept, weights = looked
    rows, shown, asking, width = query.shape  # asking: H / K times L
    length = gradient.shape[0] // rows
    by_found = gradient.view(rows, length, shown, -1, width).permute(0, 2, 3, 1, 4).reshape(query.shape)
    by_soft = by_found @ seen[1].transpose(2, 3)
    if kept is not None:
        by_soft.mul_(kept.view(by_soft.shape))
    by_score = torch._softmax_backward_data(by_soft, soft, -1, soft.dtype).mul_(scale)  # noqa: SLF001
    to_seen = torch.stack([by_score.transpose(2, 3) @ query, weights.transpose(2, 3) @ by_found])
    return (by_score @ seen[0]).view(rows, shown, asking // length, length, width), to_seen
