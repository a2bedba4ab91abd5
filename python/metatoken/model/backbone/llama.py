"""The body of a Llama on a processor: the model's own products, with larger steps between them.

What `gpt2` is to GPT-2: words that rows share and the rows themselves are one table of positions `[N, d]` for all but
attention. Between the products stand the steps of `llama_steps`. The residual stream is float32; under autocast the
products read bfloat16, as those of Hugging Face's own pass do, and scores and their softmax are float32. Projections
are called as they are, so that adapters and quantised weights stay theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metatoken.model.backbone.attention import Attention, places_of
from metatoken.model.backbone.llama_steps import Gate, RootMeanSquare, Rotary

if TYPE_CHECKING:
    from metatoken.model.backbone.passage import Passage

# Products in bfloat16 are compiled for each of their shapes, and what was compiled is kept: some eight megabytes for
# each batch that is unlike those before. So lengths and numbers of rows are multiples of these.
LENGTHS, ROWS = 8, 128
BODY = ("transformers.models.llama.modeling_llama", "LlamaModel")  # by name, since importing it takes a while


def readable(body: Any, passage: Passage) -> bool:
    """Whether `read` does for a body and a passage what the body's own forward pass does."""
    config, own = body.config, type(body)
    lower = torch.is_autocast_enabled("cpu")
    return (
        (own.__module__, own.__name__) == BODY
        and passage.vectors.device.type == "cpu"
        and passage.vectors.dtype == body.norm.weight.dtype == torch.float32
        and (not lower or torch.get_autocast_dtype("cpu") == torch.bfloat16)
        and config.hidden_act == "silu"
        and not (body.training and config.attention_dropout)
    )


def read(body: Any, passage: Passage) -> Tensor:
    """What the final norm is given, float32 `[B, L, d]`; at padding it is of no meaning.

    Args:
        body: A Llama for which `readable` holds.
        passage: What is read.
    """
    length, lower = passage.mask.shape[1], torch.is_autocast_enabled("cpu")
    dtype, step = (torch.bfloat16, ROWS) if lower else (torch.float32, 1)
    passage = passage.padded(LENGTHS) if lower else passage
    x, positions = passage.table()
    config, places, n = body.config, places_of(passage), len(x)
    x, positions = _rounded(x, step), torch.nn.functional.pad(positions, (0, -n % step))
    cos, sin = (part[0, :, : part.shape[2] // 2].contiguous() for part in body.rotary_emb(x, positions[None]))
    heads = config.num_attention_heads, config.num_key_value_heads
    for block in body.layers:
        attn, asked = block.self_attn, block is not body.layers[-1]
        seen = _norm(block.input_layernorm, x, dtype)
        table = Rotary.apply(attn.q_proj(seen), attn.k_proj(seen), attn.v_proj(seen), cos, sin)[:n]
        if not asked:
            x = _rounded(x[places.begin : n], step)  # nobody asks for the words themselves
        found = Attention.apply(table, places, heads, attn.scaling, (None, None), asked)
        x = x + attn.o_proj(_rounded(found, step))
        seen = _norm(block.post_attention_layernorm, x, dtype)
        x = x + block.mlp.down_proj(Gate.apply(block.mlp.gate_proj(seen), block.mlp.up_proj(seen)))
    return x[: n - places.begin].view(*passage.vectors.shape)[:, :length]


def _rounded(x: Tensor, step: int) -> Tensor:
    """A table with rows of zeros below, so that their number is a multiple of `step`."""
    return torch.nn.functional.pad(x, (0, 0, 0, -len(x) % step)) if len(x) % step else x


def _norm(norm: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
    found: Tensor = RootMeanSquare.apply(x, norm.weight, norm.variance_epsilon, dtype)
    return found
