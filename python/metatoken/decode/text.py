"""Text behind a prompt of words and OOV tokens, by the backbone's own `generate`.

OOV tokens have no column in the backbone's text head (their rows stand beside its table), so none can be written.
"""

from __future__ import annotations

import warnings
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

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
    device = network.items.tokens.device
    tokens, rows = ([torch.from_numpy(one) for one in column] for column in zip(*prompts, strict=True))
    # On the left, since `generate` writes on from the last column.
    pad = partial(pad_sequence, batch_first=True, padding_side="left")
    ids, items = pad(tokens), pad(rows, padding_value=-1)
    mask = pad([torch.ones_like(one) for one in tokens])
    vectors = network.embed(ids.to(device), items.to(device), network.items())
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # An n-gram of the question may well come again in the answer, of which transformers warns.
        warnings.filterwarnings("ignore", message=".*no_repeat_ngram_size.*")
        torch.manual_seed(seed)
        begin = {"begin_suppress_tokens": blank_tokens(tokenizer)} if options.min_new_tokens > 0 else {}
        written = network.backbone.bare().generate(
            inputs_embeds=vectors,
            attention_mask=mask.to(device),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            **options.arguments(),
            **begin,
        )
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]


@lru_cache(maxsize=8)
def blank_tokens(tokenizer: Any) -> list[int]:
    """Ids that add nothing to a text: blanks and special tokens. One that begins with another has a character."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    return [token for token, text in enumerate(texts) if not text.strip()]
