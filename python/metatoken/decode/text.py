"""Text behind a prompt of words and OOV tokens, by the backbone's own `generate`.

OOV tokens have no column in the backbone's text head (their rows stand beside its table), so none can be written.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from metatoken.decode.settings import TextOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.model.network import Network


@torch.no_grad()
def write(
    network: Network,
    tokenizer: Any,
    prompts: Sequence[tuple[np.ndarray, np.ndarray]],
    options: TextOptions | None = None,
    *,
    seed: int = 0,
) -> list[str]:
    """Writes on from each prompt.

    Args:
        network: In evaluation mode, with a causal backbone.
        tokenizer: The backbone's.
        prompts: Token ids of each, and the item rows whose last tokens stand there (or -1), int64 `[length]` each.
        options: How to write.
        seed: Seed of the draws.

    Returns:
        Texts without special tokens and outer blanks.
    """
    options = options or TextOptions()
    width = max(len(ids) for ids, _ in prompts)
    device = network.items.tokens.device
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    items, mask = torch.full_like(ids, -1), torch.zeros_like(ids)
    for row, (tokens, rows) in enumerate(prompts):
        # On the left, since `generate` writes on from the last column.
        ids[row, width - len(tokens) :] = torch.from_numpy(tokens)
        items[row, width - len(tokens) :] = torch.from_numpy(rows)
        mask[row, width - len(tokens) :] = 1
    vectors = network.embed(ids.to(device), items.to(device), network.items())
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # An n-gram of the question may well come again in the answer, of which transformers warns.
        warnings.filterwarnings("ignore", message=".*no_repeat_ngram_size.*")
        torch.manual_seed(seed)
        written = network.backbone.bare().generate(
            inputs_embeds=vectors,
            attention_mask=mask.to(device),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=pad,
            **options.arguments(),
        )
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]
