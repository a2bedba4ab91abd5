"""The body of a GPT-2 on a processor: the model's own layers, called in fewer and larger steps.

A small model on short rows spends most of its time between the products. Read by Hugging Face's own forward pass, words
that rows share and the rows themselves are two passes, each with a mask and a cache, and attention with dropout draws a
whole random number for each weight. Here words and rows are one table of positions `[N, d]` for everything but
attention, which takes the dropout of the model. What is computed is the same, which the
tests hold against Hugging Face's pass; dropout draws other numbers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from metatoken.model.backbone.passage import Passage

BODY = ("transformers.models.gpt2.modeling_gpt2", "GPT2Model")  # by name, since importing it takes a while


def readable(body: Any, passage: Passage) -> bool:
    """Whether `read` does for a body and a passage what the body's own forward pass does."""
    vectors, config, own = passage.vectors, body.config, type(body)
    return (
        (own.__module__, own.__name__) == BODY
        and vectors.device.type == "cpu"
        and vectors.dtype == body.wpe.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not (config.add_cross_attention or config.reorder_and_upcast_attn)
    )


def read(body: Any, passage: Passage) -> Tensor:
    """What the final norm is given, float `[B, L, d]`; at padding it is of no meaning.

    Args:
        body: A GPT-2 for which `readable` holds.
        passage: What is read.
    """
    rows, length, dim = passage.vectors.shape
    order = torch.arange(passage.shared + length)
    positions = order[passage.shared :].expand(rows, -1) if passage.positions is None else passage.positions
    vectors, begin = passage.vectors.reshape(-1, dim), 0
    if passage.words is not None:
        begin = passage.words.shape[0] * passage.shared
        vectors = torch.cat([passage.words.reshape(-1, dim), vectors])
        positions = torch.cat([order[: passage.shared].repeat(len(passage.words)), positions.reshape(-1)])
    x: Tensor = body.drop(vectors + torch.nn.functional.embedding(positions.reshape(-1), body.wpe.weight))
    masks = _masks(passage)
    for block in body.h:
        keys = block.attn.c_attn(block.ln_1(x))
        if block is body.h[-1]:
            x = x[begin:]  # nobody asks for the words themselves
        found = _attend(block.attn, keys, passage, masks, both=len(x) == len(keys))
        x = x + block.attn.resid_dropout(block.attn.c_proj(found))
        x = x + block.mlp(block.ln_2(x))
    return x.view(rows, length, dim)


def _masks(passage: Passage) -> tuple[Tensor, Tensor]:
    """What is added to the scores of words among themselves and of rows, minus infinity where nobody looks.

    Padding stands on the right, where no position but padding looks.
    """
    length, shared = passage.vectors.shape[1], passage.shared
    least = torch.finfo(torch.float32).min
    causal = torch.full((max(length, shared),) * 2, least).triu_(1)
    mask = causal[:length, :length]
    if passage.words_mask is not None and passage.words_of is not None:
        hidden = (1 - passage.words_mask).float().mul_(least).index_select(0, passage.words_of)[:, None]
        rows = len(passage.mask)
        mask = torch.cat([hidden.expand(-1, length, -1), mask.expand(rows, -1, -1)], dim=2)[:, None]
    return causal[:shared, :shared], mask


def _attend(attn: Any, keys: Tensor, passage: Passage, masks: tuple[Tensor, Tensor], *, both: bool) -> Tensor:
    """What positions find in those before them, `[N, d]`; `keys` are their queries, keys and values, `[N, 3 d]`.

    With `both` false, of rows alone.
    """
    rows, length, dim = passage.vectors.shape
    begin = len(keys) - rows * length
    own = keys[begin:].view(rows, length, 3 * dim)
    if passage.words is None or passage.words_of is None:
        return _look(attn, own[:, :, :dim], own[:, :, dim:], masks[1])
    words = keys[:begin].view(-1, passage.shared, 3 * dim)
    seen = torch.cat([words[:, :, dim:].index_select(0, passage.words_of), own[:, :, dim:]], dim=1)
    found = _look(attn, own[:, :, :dim], seen, masks[1])
    return torch.cat([_look(attn, words[:, :, :dim], words[:, :, dim:], masks[0]), found]) if both else found


def _look(attn: Any, query: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
    """Attention of queries `[R, L, d]` to keys and values `[R, K, 2 d]` under a mask; `[R L, d]`."""
    rows, dim = len(query), query.shape[2]
    of = partial(_by_head, heads=attn.num_heads)
    scores = torch.add(mask, of(query) @ of(seen[:, :, :dim]).transpose(2, 3), alpha=attn.scaling)
    found: Tensor = attn.attn_dropout(torch.softmax(scores, dim=-1)) @ of(seen[:, :, dim:])
    return found.transpose(1, 2).reshape(rows * query.shape[1], dim)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """`[R, L, d]` as `[R, heads, L, d / heads]`."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)
