"""Text behind a prompt of words and OOV tokens, by the backbone's own `generate`.

OOV tokens have no column in the backbone's text head (their rows stand beside its table), so none can be written.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.model.network import Network


@dataclass(frozen=True)
class TextOptions:
    """How to write; the names are those of `transformers.GenerationConfig`.

    Attributes:
        max_new_tokens: Longest text in tokens.
        min_new_tokens: Shortest; 1 by default, since no text that is learned from is empty.
        num_beams: Beams; 1 is greedy.
        do_sample: Draw from the distribution instead of taking its best token.
        temperature: Of the draw.
        top_p: Share of the probability that is drawn from.
        no_repeat_ngram_size: No n-gram of this length twice in a text; 0 allows all.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 1
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        lowest = {"max_new_tokens": 1, "min_new_tokens": 0, "num_beams": 1, "no_repeat_ngram_size": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ArgumentError(name, f"expected at least {low}, got {getattr(self, name)}")
        if self.min_new_tokens > self.max_new_tokens:
            raise ArgumentError("min_new_tokens", f"expected at most max_new_tokens, {self.max_new_tokens}")
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ArgumentError("temperature", "expected a number above 0, and top_p in (0, 1]")

    def arguments(self) -> dict[str, Any]:
        """Arguments of `generate`; those of drawing only where it draws."""
        given = asdict(self)
        if not self.do_sample:
            del given["temperature"], given["top_p"]
        if self.no_repeat_ngram_size == 0:
            del given["no_repeat_ngram_size"]
        return given


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
        tokenizer: Of the backbone.
        prompts: For each its token ids and the item rows whose last tokens stand there (or -1), int64 `[length]` each.
        options: How to write.
        seed: Of the draws.

    Returns:
        The texts, without special tokens and outer blanks.
    """
    options = options or TextOptions()
    width = max(len(ids) for ids, _ in prompts)
    device = network.items.tokens.device
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    leaves = torch.full_like(ids, -1)
    mask = torch.zeros_like(ids)
    for row, (tokens, items) in enumerate(prompts):
        # On the left, since `generate` writes on from the last column.
        ids[row, width - len(tokens) :] = torch.from_numpy(tokens)
        leaves[row, width - len(tokens) :] = torch.from_numpy(items)
        mask[row, width - len(tokens) :] = 1
    vectors = network.embed(ids.to(device), leaves.to(device), network.items())
    model: Any = network.backbone.bare()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # An n-gram of the question may well come again in the answer, of which transformers warns.
        warnings.filterwarnings("ignore", message=".*no_repeat_ngram_size.*")
        torch.manual_seed(seed)
        found = model.generate(
            inputs_embeds=vectors,
            attention_mask=mask.to(device),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=pad,
            **options.arguments(),
        )
    return [text.strip() for text in tokenizer.batch_decode(found, skip_special_tokens=True)]
