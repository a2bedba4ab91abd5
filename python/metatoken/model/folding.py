"""Folding a trained network into a plain Hugging Face model: LoRA merged, OOV tokens as ordinary rows.

Input row of a token: what the embedding layer gives for it, before any scale of that layer. Output row: the cosine
head behind the final norm (`FinalNorm.fold`), so that the plain model's logits of OOV tokens are those of training.
Since the two differ, a folded model is untied: its text head is a copy of the text rows.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metatoken.errors import ConfigError
from metatoken.model.backbone.norm import text_scale
from metatoken.model.embedding import readers

if TYPE_CHECKING:
    from metatoken.model.network import Network


@torch.no_grad()
def plain_model(network: Network, *, inplace: bool = False) -> Any:
    """A plain Hugging Face model with the OOV tokens as the last rows of its tables, those of their token ids.

    Args:
        network: Trained. Unless `inplace`, it stays as it is.
        inplace: Take the backbone of the network itself, which spares a copy; the network cannot be used afterwards.

    Returns:
        The model, float32, in evaluation mode, with an untied head. Text ids score as they did.

    Raises:
        ConfigError: The architecture or its final norm does not allow exact folding.
    """
    inputs, outputs = network.table.inputs(), network.generation.scaled(network.table())
    backbone = network.backbone if inplace else copy.deepcopy(network.backbone)
    norm = backbone.norm
    model: Any = backbone.release()
    _check(model)
    head = model.get_output_embeddings()
    text = head.weight.detach()
    text = text * text_scale(model)  # a folded model is untied, which scales nothing
    if getattr(model.config, "scale_decoder_outputs", False):
        model.config.scale_decoder_outputs = False
    rows, bias = norm.fold(outputs, head_bias=head.bias is not None)
    size = max(len(text), network.columns.stop)
    layers = readers(model)
    grown = nn.Parameter(_grow(layers[0].weight.detach(), inputs / _scale(layers[0]), network.columns, size))
    for layer in layers:
        layer.weight, layer.num_embeddings = grown, size
    head.weight, head.out_features = nn.Parameter(_grow(text, rows, network.columns, size)), size
    if head.bias is not None:
        head.bias = nn.Parameter(_grow(head.bias.detach(), bias, network.columns, size))
    _untie(model, size)
    return model.eval()


def _check(model: Any) -> None:
    config = model.config.get_text_config()
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise ConfigError(f"{type(model).__name__} changes its logits ({name}), so tokens cannot be folded into it")


def _grow(old: Tensor, rows: Tensor, where: slice, size: int) -> Tensor:
    """`old` with `rows` at `where` and zeros behind, `size` rows in all."""
    new = old.new_zeros(size, *old.shape[1:])
    new[: len(old)] = old
    new[where] = rows.to(new.dtype)
    return new


def _scale(layer: Any) -> float:
    """How much an embedding layer multiplies its rows (Gemma's does)."""
    row = int(layer.weight.norm(dim=1).argmax())
    weight, out = layer.weight[row], layer(torch.tensor([row], device=layer.weight.device))[0]
    scale = float((out @ weight) / (weight @ weight))
    if not torch.allclose(out, scale * weight, rtol=1e-5):
        raise ConfigError(f"{type(layer).__name__} does more than scale its rows, so tokens cannot be folded into it")
    return scale


def _untie(model: Any, size: int) -> None:
    for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
        config.vocab_size = size
    if hasattr(model, "vocab_size"):
        model.vocab_size = size
    # What transformers leaves out of a file since it is tied. The tables of a T5 still are, its head is not.
    head = next(name for name, part in model.named_modules() if part is model.get_output_embeddings())
    tied = model._tied_weights_keys or {}  # noqa: SLF001
    keep = model.config.is_encoder_decoder
    model.all_tied_weights_keys = {a: b for a, b in tied.items() if keep and not a.startswith(f"{head}.")}
