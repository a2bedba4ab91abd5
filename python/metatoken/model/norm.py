"""The norm before the language-model head: where it is, and how to go before its gain."""

from __future__ import annotations

from typing import Any

from torch import nn

from metatoken.errors import ConfigError


def final_norm(model: nn.Module) -> nn.Module:
    """The norm whose output the language-model head reads.

    Raises:
        ConfigError: The architecture has none where one is expected.
    """
    config: Any = model.config
    body: Any = model.get_decoder() if config.is_encoder_decoder else model.base_model  # type: ignore[operator]
    for name in ("ln_f", "norm", "final_layer_norm", "final_layernorm", "layer_norm"):
        norm = getattr(body, name, None)
        if isinstance(norm, nn.Module):
            return norm
    raise ConfigError(
        f"model.backbone: {type(model).__name__} has no final norm under a known name; "
        "supported are models of the Llama, Qwen, Gemma, Mistral, Phi, GPT-2, GPT-NeoX and T5 families"
    )
