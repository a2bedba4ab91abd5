"""The first blocks of a deep model, so that a CPU can train it."""

from __future__ import annotations

from typing import Any

from torch import nn

from metatoken.errors import ConfigError

STACKS = ("layers", "h")  # names of the list of blocks: Llama, Qwen, Gemma, Mistral, Phi, GPT-NeoX; GPT-2


def keep_layers(model: nn.Module, n: int) -> None:
    """Drops, in place, all blocks of a causal model but the first n; its final norm and head stay.

    The configuration is changed with it, so that the model can be saved and loaded as it is.

    Args:
        model: A Hugging Face causal model, not wrapped by PEFT.
        n: Blocks to keep, from 1 to all.

    Raises:
        ConfigError: The model is an encoder-decoder, has its blocks under an unknown name, or has fewer than n.
    """
    config: Any = model.config
    body: Any = model.base_model
    name = next((name for name in STACKS if isinstance(getattr(body, name, None), nn.ModuleList)), None)
    if config.is_encoder_decoder or name is None:
        raise ConfigError(f"model.layers: expected a causal model with a list of blocks, got {type(model).__name__}")
    blocks = getattr(body, name)
    if not 1 <= n <= len(blocks):
        raise ConfigError(f"model.layers: expected 1 to {len(blocks)}, the blocks of this backbone, got {n}")
    setattr(body, name, blocks[:n])
    config.num_hidden_layers = n
    if getattr(config, "layer_types", None):  # which blocks attend to a window only
        config.layer_types = list(config.layer_types[:n])
