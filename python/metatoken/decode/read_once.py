"""Questions that are read once, however many texts are written behind each.

`generate` repeats a question for every beam and draw before it reads them. The keys and values of a question do not
depend on what is written behind it, so they are computed once here and repeated. The texts are the same, but for what a
product of fewer rows rounds otherwise.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from metatoken.model.backbone.passage import of_keys_and_values

NEEDED = {"inputs_embeds", "attention_mask", "position_ids", "past_key_values", "use_cache"}


@torch.no_grad()
def read_once(model: Any, vectors: torch.Tensor, mask: torch.Tensor, times: int) -> dict[str, Any]:
    """What `generate` is told of questions that have been read, by name; nothing where it has to read them itself.

    The last position is left to `generate`, which needs its state. A model that remembers anything but keys and values
    of all positions, or that takes no positions, reads by itself.

    Args:
        model: A causal model of transformers, in evaluation mode.
        vectors: float `[n, length, d]`, padded on the left.
        mask: int64 `[n, length]`.
        times: Texts behind each question.
    """
    from transformers import DynamicCache

    body = model.base_model
    if times == 1 or vectors.shape[1] == 1 or not NEEDED.issubset(inspect.signature(body.forward).parameters):
        return {}
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))  # as `generate` makes it
    if not of_keys_and_values(cache):
        return {}
    # As `generate` counts them.
    positions = (mask.cumsum(dim=1) - 1).masked_fill(mask == 0, 0)
    read = {"inputs_embeds": vectors, "attention_mask": mask, "position_ids": positions}
    found: Any = body(**{name: table[:, :-1] for name, table in read.items()}, past_key_values=cache, use_cache=True)
    if found.past_key_values is not cache or not of_keys_and_values(cache):
        return {}
    cache.batch_repeat_interleave(times)
    return {"past_key_values": cache}
