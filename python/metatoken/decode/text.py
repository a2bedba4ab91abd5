"""Text behind a prompt of words and OOV tokens, by the backbone's own `generate`.

OOV tokens have no column in the backbone's text head (their rows stand beside its table), so none can be written. A
head with more columns than its tokenizer has tokens, as those of T5 and Qwen, never writes the rest. An encoder-decoder
model reads the prompt with its encoder and writes with its decoder. What the files of a backbone say of writing
(`generation_config.json`: penalties, forced tokens, n-grams) is no part of how these texts are written.

The likeliest text is often the same for everybody. With a `novelty` `a` above 0 the text among the beams is given whose
pointwise information about the question is largest, per token (Li et al., "A diversity-promoting objective function for
neural conversation models", NAACL 2016): `(log p(text | question) - a log p(text)) / |text|`, where `p(text)` is what
the model gives it behind the words of the question alone.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from metatoken.decode.consensus import consensus
from metatoken.decode.read_once import read_once
from metatoken.decode.settings import AUTO, TextOptions
from metatoken.errors import ArgumentError
from metatoken.tasks.batch import collate
from metatoken.tasks.text import answering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.model.network import Network


ROWS = 256  # texts that are read at once
Prompt = tuple[np.ndarray, np.ndarray]
"""Token ids, and the item rows whose last tokens stand there or -1; int64 `[length]` each."""


@torch.no_grad()
def write(
    network: Network,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    options: TextOptions | None = None,
    *,
    alone: Prompt | None = None,
    seed: int = 0,
) -> list[str]:
    """Writes on from each prompt.

    Args:
        network: In evaluation mode.
        tokenizer: The backbone's.
        prompts: What is asked.
        options: How to write.
        alone: The words of the prompts without what they ask about; needed where `options.novelty` is above 0.
        seed: Seed of the draws.

    Returns:
        Texts without special tokens and outer blanks, `[n]`.

    Raises:
        ArgumentError: The novelty is left to be chosen, or there is one without `alone`.
    """
    options = options or TextOptions()
    if options.novelty == 0:
        texts, drawn = _decoded(tokenizer, _written(network, tokenizer, prompts, options, seed)), options.consensus
        asked = [texts[at : at + drawn] for at in range(0, len(texts), drawn)]
        return [one[consensus(one)] for one in asked]
    if options.novelty == AUTO:
        raise ArgumentError("options", "expected a number for the novelty, got auto; see metatoken.evaluate.novelty")
    if alone is None:
        raise ArgumentError("alone", "is needed for a novelty above 0: the words without what they ask about")
    return candidates(network, tokenizer, prompts, options, alone=alone, seed=seed).chosen(options.novelty)


@dataclass(frozen=True)
class Candidates:
    """The beams of some prompts.

    Attributes:
        texts: `[n * beams]`, those of a prompt one after the other.
        own: Log-probability of each behind its prompt, float32 `[n, beams]`.
        anybody: The same behind the words alone.
        lengths: Tokens of each, int64 `[n, beams]`.
    """

    texts: list[str]
    own: torch.Tensor
    anybody: torch.Tensor
    lengths: torch.Tensor

    def chosen(self, novelty: float) -> list[str]:
        """The text of each prompt, `[n]`, that says most of it per token."""
        best = ((self.own - novelty * self.anybody) / self.lengths).argmax(dim=1)
        beams = self.lengths.shape[1]
        return [self.texts[row * beams + beam] for row, beam in enumerate(best.tolist())]


@torch.no_grad()
def candidates(
    network: Network,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    options: TextOptions,
    *,
    alone: Prompt,
    seed: int = 0,
) -> Candidates:
    """All beams of each prompt, for options with a novelty; arguments as in `write`."""
    written, beams = _written(network, tokenizer, prompts, options, seed), options.num_beams
    tokens = [_ended(row, tokenizer.eos_token_id) for row in written.tolist()]
    own = log_probabilities(network, [prompt for prompt in prompts for _ in range(beams)], tokens)
    anybody = log_probabilities(network, [alone] * len(tokens), tokens)
    lengths = torch.tensor([len(row) for row in tokens])
    scores = (one.view(len(prompts), beams) for one in (own, anybody, lengths))
    return Candidates(_decoded(tokenizer, written), *scores)


@torch.no_grad()
def log_probabilities(network: Network, prompts: Sequence[Prompt], texts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Log-probability of each text behind its prompt, float32 `[n]`.

    Args:
        network: In evaluation mode.
        prompts: `[n]`.
        texts: Token ids of each, at least one, end token included.
    """
    found = []
    for at in range(0, len(texts), ROWS):
        read, answers = [], texts[at : at + ROWS]
        for (ids, items), text in zip(prompts[at : at + ROWS], answers, strict=True):
            answer = np.array(text, dtype=np.int64)
            read.append(answering(ids, items, answer, by_decoder=network.backbone.is_encoder_decoder))
        batch = collate(read, 0).to(network.items.tokens.device)
        each = network.text_log_probabilities(batch).float().cpu()
        owners = torch.repeat_interleave(torch.arange(len(answers)), torch.tensor([len(text) for text in answers]))
        found.append(torch.zeros(len(answers)).index_add(0, owners, each))
    return torch.cat(found)


def _written(
    network: Network, tokenizer: Any, prompts: Sequence[Prompt], options: TextOptions, seed: int
) -> torch.Tensor:
    """Token ids behind each prompt, int64 `[n, length]`, for all candidates where one is chosen."""
    device, decodes = network.items.tokens.device, network.backbone.is_encoder_decoder
    tokens, rows = ([torch.from_numpy(one) for one in column] for column in zip(*prompts, strict=True))
    # On the left, since `generate` writes on from the last column; a decoder begins a row of its own.
    pad = partial(pad_sequence, batch_first=True, padding_side="right" if decodes else "left")
    ids, items = pad(tokens), pad(rows, padding_value=-1)
    mask = pad([torch.ones_like(one) for one in tokens])
    vectors = network.embed(ids.to(device), items.to(device), network.items())
    model, mask = _unbiased(network.backbone.bare()), mask.to(device)
    if options.bfloat16:
        model, vectors = in_bfloat16(model), vectors.to(torch.bfloat16)
    read = {} if decodes else read_once(model, vectors, mask, options.width)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # An n-gram of the question may well come again in the answer, of which transformers warns.
        warnings.filterwarnings("ignore", message=".*no_repeat_ngram_size.*")
        torch.manual_seed(seed)
        written: torch.Tensor = model.generate(
            inputs_embeds=vectors,
            attention_mask=mask,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            **options.arguments(),
            **read,
            **_never(network, tokenizer, options),
            **({"decoder_start_token_id": network.backbone.decoder_start} if decodes else {}),
        )
    return written[:, 1:] if decodes else written


def _unbiased(model: Any) -> Any:
    """The same model, without what its files say of writing: `generate` would take that for all it is not told."""
    import transformers

    settings: Any = transformers.GenerationConfig
    found = copy.copy(model)  # of its attributes alone, so that nobody else's text changes meanwhile
    found.generation_config = settings()
    return found


def in_bfloat16(model: Any) -> Any:
    """A copy with weights in bfloat16. Frequencies of rotary positions stay: rounded, far positions would be others."""
    weights = {id(one): _rounded(one) for one in model.parameters() if one.is_floating_point()}
    found = copy.deepcopy(model, weights)  # which takes these in place of copies
    for name, buffer in found.named_buffers():
        if buffer.is_floating_point() and "inv_freq" not in name:
            buffer.data = buffer.data.to(torch.bfloat16)
    return found


def _rounded(weight: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(weight.detach().to(torch.bfloat16), requires_grad=False)


def _never(network: Network, tokenizer: Any, options: TextOptions) -> dict[str, Any]:
    """What is not written: at the beginning nothing that is no text; never a row of the head without a token."""
    found = {"begin_suppress_tokens": blank_tokens(tokenizer)} if options.min_new_tokens > 0 else {}
    unused = range(network.base, len(network.backbone.bare().get_output_embeddings().weight))
    # Their ids are those of OOV tokens.
    return found | ({"suppress_tokens": list(unused)} if unused else {})


def _decoded(tokenizer: Any, written: torch.Tensor) -> list[str]:
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]


def _ended(row: list[int], end: int) -> list[int]:
    """A text with its end token, without what fills it up behind."""
    return row[: row.index(end) + 1] if end in row else row


@lru_cache(maxsize=8)
def blank_tokens(tokenizer: Any) -> list[int]:
    """Ids that add nothing to a text: blanks and special tokens. One that begins with another has a character."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    return [token for token, text in enumerate(texts) if not text.strip()]
