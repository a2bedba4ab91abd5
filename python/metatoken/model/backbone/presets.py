"""Presets: small models built from their config, with random weights; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metatoken.config import SettingError, Settings, setting
from metatoken.model.backbone.dropout import quicken
from metatoken.tasks.recipe import recipe

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PresetSize(Settings):
    """How large a preset is."""

    dim: int = setting(64, "Width.", ge=1)
    layers: int = setting(2, "Blocks; a T5 has so many in encoder and decoder each.", ge=1)
    heads: int = setting(1, "Attention heads, which share the width.", ge=1)
    dropout: float | None = setting(None, "Dropout at every place; by default by the size of the log.", ge=0, lt=1)
    positions: int = setting(512, "Longest sequence; a T5 has no bound.", ge=1)

    def check(self) -> None:
        """Refuse a width that the heads cannot share."""
        if self.dim % self.heads:
            raise SettingError(("dim",), f"expected a multiple of heads, {self.heads}, got {self.dim}")


PRESETS = {"gpt2-preset": PresetSize(), "t5-preset": PresetSize(heads=2, dropout=0.3)}


def build_preset(name: str, vocabulary_size: int, overrides: Mapping[str, Any]) -> nn.Module:
    """A causal (`gpt2-preset`) or encoder-decoder (`t5-preset`) backbone with random weights.

    `vocabulary_size` is the number of text tokens, `overrides` are fields of `PresetSize`.

    Raises:
        SettingError: A field is unknown or cannot be used.
    """
    size = PresetSize.of(PRESETS[name], overrides)
    dropout = recipe(None).dropout if size.dropout is None else size.dropout
    if name == "t5-preset":
        from transformers import T5Config, T5ForConditionalGeneration

        config = T5Config(
            vocab_size=vocabulary_size,
            d_model=size.dim,
            d_kv=size.dim // size.heads,
            d_ff=4 * size.dim,
            num_layers=size.layers,
            num_heads=size.heads,
            dropout_rate=dropout,
            pad_token_id=0,
            eos_token_id=2,
        )
        config.decoder_start_token_id = 0
        return quicken(T5ForConditionalGeneration(config))
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary_size, n_positions=size.positions, n_embd=size.dim, n_layer=size.layers,
            n_head=size.heads, embd_pdrop=dropout, resid_pdrop=dropout, attn_pdrop=dropout,
            activation_function="gelu_pytorch_tanh",  # the same function as GPT-2's own, in one operation
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    return quicken(model)
