"""Presets: small models built from their config, with random weights; nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metatoken.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

# One place that says how large a preset is; every key can be overridden by the user.
PRESETS: dict[str, dict[str, Any]] = {
    "gpt2-preset": {"dim": 64, "layers": 2, "heads": 2, "dropout": 0.4, "positions": 512},
    "t5-preset": {"dim": 64, "layers": 2, "heads": 2, "dropout": 0.3, "positions": 512},
}


def preset_size(name: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Size of a preset with overrides.

    Raises:
        ConfigError: Unknown key, or a width that the heads cannot share.
    """
    size = dict(PRESETS[name])
    unknown = set(overrides or {}) - set(size)
    if unknown:
        raise ConfigError(f"model.preset: unknown keys {sorted(unknown)}; expected some of {sorted(size)}")
    size |= dict(overrides or {})
    if size["dim"] % size["heads"]:
        raise ConfigError(f"model.preset: dim {size['dim']} is not a multiple of heads {size['heads']}")
    return size


def build_preset(name: str, vocabulary_size: int, overrides: Mapping[str, Any] | None = None) -> nn.Module:
    """A randomly initialised backbone from its config; nothing is downloaded.

    Args:
        name: `gpt2-preset` (causal) or `t5-preset` (encoder-decoder).
        vocabulary_size: Text tokens.
        overrides: Any of dim, layers, heads, dropout, positions.

    Raises:
        ConfigError: See `preset_size`.
    """
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    size = preset_size(name, overrides)
    if name == "t5-preset":
        config = T5Config(
            vocab_size=vocabulary_size,
            d_model=size["dim"],
            d_kv=size["dim"] // size["heads"],
            d_ff=4 * size["dim"],
            num_layers=size["layers"],
            num_heads=size["heads"],
            dropout_rate=size["dropout"],
            pad_token_id=0,
            eos_token_id=2,
        )
        config.decoder_start_token_id = 0
        return T5ForConditionalGeneration(config)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary_size, n_positions=size["positions"], n_embd=size["dim"], n_layer=size["layers"],
            n_head=size["heads"], embd_pdrop=size["dropout"], resid_pdrop=size["dropout"],
            attn_pdrop=size["dropout"], pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
