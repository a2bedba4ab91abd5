"""What of a backbone is trained: LoRA layers, everything, or nothing.

The OOV rows, their projection and the item vectors live outside the backbone and train in every mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from metatoken.errors import ConfigError
from metatoken.model.backbone.norm import final_norm

if TYPE_CHECKING:
    from metatoken.model.settings import Tuning

# Every linear layer of the blocks, whatever the architecture calls them; never the language-model head.
LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def adapt(
    model: nn.Module, tuning: Tuning, lora: Mapping[str, Any] | None = None, *, gradient_checkpointing: bool = False
) -> nn.Module:
    """Marks what trains, in place; with `lora`, also adds the layers.

    Args:
        model: A Hugging Face model.
        tuning: `lora` (adapters beside frozen weights), `full` or `frozen`.
        lora: Options of `peft.LoraConfig` over the defaults of `LORA`: `r`, `lora_alpha`, `lora_dropout`,
            `target_modules`, `use_rslora`, `use_dora`, ...
        gradient_checkpointing: Compute activations of a block again in the backward pass, to save memory.

    Returns:
        The model, wrapped by PEFT for `lora`.

    Raises:
        ConfigError: The options cannot be used with this model.
    """
    if gradient_checkpointing:
        checkpointed: Any = model
        # Not re-entrant: a re-entrant one drops gradients where no input of a block needs one.
        checkpointed.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if tuning == "lora":
        return _with_lora(model, {**LORA, **(lora or {})})
    model.requires_grad_(tuning == "full")
    return model


def _with_lora(model: nn.Module, options: dict[str, Any]) -> nn.Module:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper
    from transformers.pytorch_utils import Conv1D

    if options.get("trainable_token_indices"):
        raise ConfigError("model.lora.trainable_token_indices: leave it out; new tokens have a table of their own")
    options.setdefault("fan_in_fan_out", any(isinstance(part, Conv1D) for part in model.modules()))
    try:
        adapted: Any = get_peft_model(model, LoraConfig(**options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.lora: {str(error).splitlines()[0]}") from error
    # PEFT's wrappers pass an embedding subclass by, so the OOV rows would not be seen.
    if any(isinstance(layer, BaseTunerLayer | AuxiliaryTrainingWrapper) for layer in tables(adapted.get_base_model())):
        raise ConfigError(
            "model.lora: the embedding and the language-model head cannot be adapted (target_modules, "
            "modules_to_save); the new tokens have a table of their own"
        )
    result: nn.Module = adapted
    return result


def tables(model: Any) -> list[nn.Module]:
    """The layers that read token ids, and the language-model head, each once."""
    parts = [model, model.get_encoder(), model.get_decoder()] if model.config.is_encoder_decoder else [model]
    layers = [part.get_input_embeddings() for part in parts] + [model.get_output_embeddings()]
    return list({id(layer): layer for layer in layers if layer is not None}.values())


def is_tied(model: nn.Module) -> bool:
    """Whether the language-model head is the embedding table itself."""
    hf: Any = model
    head, table = hf.get_output_embeddings(), hf.get_input_embeddings()
    return head is not None and head.weight is table.weight


def freeze_unread(model: nn.Module) -> None:
    """Freezes what no loss of the ranking tasks reads: the gain and bias of the final norm, an untied head.

    They would get no gradient, which a distributed strategy takes for an error.
    """
    hf: Any = model
    final_norm(hf).requires_grad_(requires_grad=False)
    head = hf.get_output_embeddings()
    if head is not None and not is_tied(hf):
        head.requires_grad_(requires_grad=False)
