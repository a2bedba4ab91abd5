"""The body of a GPT-2 on a processor: the model's own layers, called in fewer and larger steps.

A small model on short rows spends most of its time between the products. Read by Hugging Face's own forward pass, words
that rows share and the rows themselves are two passes, each with a mask and a cache, and attention with dropout draws a
whole random number for each weight. Here words and rows are one table of positions `[N, d]` for everything but
attention, which takes the dropout of the model. What is computed is the same, which the tests hold against Hugging
Face's pass; dropout draws other numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metatoken.model.backbone.attention import Attention, Places, places_of
from metatoken.model.backbone.dropout import kept

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
    vectors, positions = passage.table()
    x: Tensor = body.drop(vectors + torch.nn.functional.embedding(positions, body.wpe.weight))
    places = places_of(passage)
    for block in body.h:
        table, heads, asked = block.attn.c_attn(block.ln_1(x)), block.attn.num_heads, block is not body.h[-1]
        if not asked:
            x = x[places.begin :]  # nobody asks for the words themselves
        found = Attention.apply(table, places, (heads, heads), block.attn.scaling, _kept(block.attn, places), asked)
        x = x + block.attn.resid_dropout(block.attn.c_proj(found))
        x = x + block.mlp(block.ln_2(x))
    return x.view(rows, length, dim)


def _kept(attn: Any, places: Places) -> tuple[Tensor | None, Tensor | None]:
    """Dropout of the attention of rows and words."""
    drop, heads, shared, length = attn.attn_dropout, attn.num_heads, places.shared, places.length
    if not drop.training or drop.p == 0:
        return None, None
    return kept(drop.p, (places.rows, heads, length, shared + length)), kept(
        drop.p, (places.sorts, heads, shared, shared)
    )
