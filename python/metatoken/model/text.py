"""Item vectors from titles: mean hidden states of any backbone, for items that have words but few interactions.

A title is read with one extra token in front (the tokenizer's begin or end mark), whose state is left out of the mean:
language models park a huge, meaningless vector on the first position they read. Blocks above the chosen layer are never
run. Titles of like length are read together, equal ones once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from metatoken.config import expect_list
from metatoken.errors import ArgumentError
from metatoken.model.backbone.norm import final_norm
from metatoken.model.backbone.pretrained import keep_layers, load_pretrained
from metatoken.tasks.prompts import text_ids

Progress = Callable[[int, int], None]
PRECISIONS = ("auto", "float32", "bfloat16")


def text_vectors(
    texts: Sequence[str],
    backbone: str | tuple[nn.Module, Any],
    *,
    layer: int | None = None,
    max_tokens: int = 64,
    batch_tokens: int = 2048,
    precision: str = "auto",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Mean hidden state of every text.

    Args:
        texts: Titles; blank ones get zeros.
        backbone: `smollm2-135m`, a folder with a Hugging Face model, a hub name; or a model and its tokenizer, which
            is changed to the chosen depth and precision.
        layer: Blocks that are run, those of the encoder where there is one; None takes two thirds of them.
        max_tokens: Most tokens of a text that are read.
        batch_tokens: Most tokens in a batch, padding included.
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the processor multiplies it in hardware.
        progress: Called with (tokens done, tokens in all).

    Returns:
        float32 `[len(texts), width of the backbone]`, not normalized.

    Raises:
        ArgumentError: A parameter is out of its range.
        ConfigError: The backbone cannot be loaded.
    """
    expect_list("texts", texts, "texts")
    for name, value in (("max_tokens", max_tokens), ("batch_tokens", batch_tokens)):
        if value < 1:
            raise ArgumentError(name, f"expected at least 1, got {value}")
    if precision not in PRECISIONS:
        raise ArgumentError("precision", f"expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    model, tokenizer = load_pretrained(backbone) if isinstance(backbone, str) else backbone
    reader = _Reader(model, layer, torch.bfloat16 if _short(precision, model) else torch.float32)
    unique = {text: place for place, text in enumerate(dict.fromkeys(" ".join(t.split()) for t in texts))}
    ids = _tokenize(tokenizer, list(unique), max_tokens)
    vectors = np.zeros((len(unique), reader.dim), dtype=np.float32)
    batches = _batches(ids, batch_tokens)
    done, total = 0, sum(len(ids[row]) for chosen in batches for row in chosen)
    for chosen in batches:
        vectors[chosen] = reader([ids[row] for row in chosen])
        done += sum(len(ids[row]) for row in chosen)
        if progress is not None:
            progress(done, total)
    return vectors[[unique[" ".join(text.split())] for text in texts]]


def whiten(vectors: NDArray[np.floating[Any]], components: int) -> NDArray[np.float32]:
    """The first principal components, each scaled to variance 1; rows of zeros (no text) stay zeros.

    Hidden states lie in a narrow cone and a few directions hold most of the variance, so cosines of raw states say
    little. With centred rows `X = U S V^T` the result is `X V / S * sqrt(n)`.

    Args:
        vectors: float `[n, d]`.
        components: How many, from 1 to the smaller of d and the number of distinct rows less one.

    Returns:
        float32 `[n, components]`.

    Raises:
        ArgumentError: There are fewer directions than components.
    """
    known = np.any(vectors != 0, axis=1)
    rows = vectors[known].astype(np.float64)
    rows -= rows.mean(axis=0) if len(rows) else 0.0
    variances, directions = np.linalg.eigh(rows.T @ rows / max(1, len(rows)))
    variances, directions = variances[::-1], directions[:, ::-1]
    usable = int((variances > 1e-10 * max(float(variances[0]), 1e-30)).sum()) if len(rows) > 1 else 0
    if not 1 <= components <= usable:
        raise ArgumentError("components", f"expected 1 to {usable}, the directions of these vectors, got {components}")
    directions = directions[:, :components]
    # The sign of an eigenvector is arbitrary: make its largest entry positive, so that machines agree.
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(components)])
    result = np.zeros((len(vectors), components), dtype=np.float32)
    result[known] = rows @ directions / np.sqrt(variances[:components])
    return result


class _Reader:
    """Runs a model's first blocks over token ids and averages what comes out."""

    def __init__(self, model: nn.Module, layer: int | None, dtype: torch.dtype) -> None:
        config: Any = model.config
        self.encoder: Any = model.get_encoder() if config.is_encoder_decoder else None  # type: ignore[operator]
        depth = int(config.num_hidden_layers)
        self.layer = max(1, round(depth * 2 / 3)) if layer is None else layer
        if not 1 <= self.layer <= depth:
            raise ArgumentError("layer", f"expected 1 to {depth}, the blocks of this backbone, got {layer}")
        self.dim = int(getattr(config, "d_model", None) or config.hidden_size)
        self.model: Any = model.eval().to(dtype)
        self._seen: list[Tensor] = []
        if self.encoder is None:
            keep_layers(model, self.layer)
            final_norm(model).register_forward_pre_hook(lambda _norm, inputs: self._seen.append(inputs[0]))

    @torch.inference_mode()
    def __call__(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """Means over all positions but the first, float32 `[len(rows), dim]`; zeros for a row with no other."""
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        mask = (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])).long()
        hidden = self._hidden(ids, mask).float()
        inner = mask.clone()
        inner[:, 0] = 0
        means = (hidden * inner[:, :, None]).sum(1) / inner.sum(1).clamp_min(1)[:, None]
        return means.numpy()

    def _hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.encoder is not None:
            out = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            states: Tensor = out.hidden_states[self.layer]
            return states
        self._seen.clear()
        self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
        return self._seen.pop()


def _tokenize(tokenizer: Any, texts: list[str], limit: int) -> list[list[int]]:
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    words = text_ids(tokenizer, texts)
    return [[int(first or 0), *own[:limit]] for own in words]


def _batches(ids: list[list[int]], batch_tokens: int) -> list[list[int]]:
    """Rows of like length, longest first, so that the largest batch comes first and a bar runs faster than it says."""
    order = sorted((row for row in range(len(ids)) if len(ids[row]) > 1), key=lambda row: (-len(ids[row]), row))
    batches: list[list[int]] = []
    for row in order:
        if not batches or (len(batches[-1]) + 1) * len(ids[batches[-1][0]]) > batch_tokens:
            batches.append([])
        batches[-1].append(row)
    return batches


def _short(precision: str, model: nn.Module) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    device = next(model.parameters()).device
    if device.type == "cpu":
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch have none
        return bool(known.get("amx_bf16") or known.get("avx512_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported()
