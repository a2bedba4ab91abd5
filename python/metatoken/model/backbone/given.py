"""A backbone that somebody has made already: an object in place of a name, and how a saved model keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from metatoken.errors import ArgumentError
from metatoken.model.backbone.pretrained import OBJECT, no_bar, untied
from metatoken.model.embedding import MetaEmbedding, readers


def name_of(model: nn.Module) -> str:
    """What settings call a backbone that was given as an object."""
    return f"{OBJECT}{type(model).__name__}"


def taken(model: Any, tokenizer: Any) -> nn.Module:
    """The object as a backbone, which it is from now on; checked before anything of it changes.

    Args:
        model: A causal or encoder-decoder model of transformers, in float32.
        tokenizer: The one that its embedding table was made for.

    Raises:
        ArgumentError: It cannot be one.
    """
    from transformers import PreTrainedModel

    plain: Any = PreTrainedModel  # whose methods have no types
    if not isinstance(model, plain) or model.get_output_embeddings() is None:
        said = f"expected a language model of transformers, such as LlamaForCausalLM, got {type(model).__name__}"
        raise ArgumentError("backbone", said)
    if tokenizer is None:
        raise ArgumentError("tokenizer", "is needed beside a model object; give the one that belongs to it")
    tables = readers(model)
    if any(isinstance(table, MetaEmbedding) for table in tables):
        raise ArgumentError("backbone", "this object is the backbone of another model already; give a new one")
    rows = tables[0].num_embeddings
    if len(tokenizer) > rows:
        raise ArgumentError("tokenizer", f"it has {len(tokenizer)} tokens, and the backbone has room for {rows}")
    if (found := tables[0].weight.dtype) != torch.float32:
        raise ArgumentError("backbone", f"expected weights in float32, got {found}; call .float() on it")
    return untied(model)


def save_given(bare: Any, folder: Path, *, whole: bool) -> None:
    """Writes a backbone that has no other place: its configuration, and its weights where others do not hold them.

    Args:
        bare: The model of transformers, LoRA layers in place.
        folder: Where to write.
        whole: Whether the trained weights that are saved elsewhere are all of its weights.
    """
    if whole:
        bare.config.save_pretrained(folder)
        return
    weights = {name.replace(".base_layer.", "."): value for name, value in bare.state_dict().items()}
    weights = {name: value for name, value in weights.items() if "lora_" not in name}
    with torch.device("meta"):
        plain = type(bare)(bare.config)
    plain.load_state_dict(weights, assign=True)  # shares them, so that nothing is copied
    with no_bar():
        plain.save_pretrained(folder)
