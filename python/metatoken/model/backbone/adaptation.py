"""What of a backbone is trained: LoRA layers, everything, or nothing.

The OOV rows, their projection and the item vectors live outside the backbone and train in every mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from metatoken.errors import ConfigError
from metatoken.model.backbone.norm import final_norm
from metatoken.model.embedding import readers

if TYPE_CHECKING:
    from metatoken.model.settings import Tuning

# Every linear layer of the blocks, whatever the architecture calls them; never the language-model head.
LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def adapt(
    model: Any, tuning: Tuning, lora: Mapping[str, Any] | None = None, *, gradient_checkpointing: bool = False
) -> nn.Module:
    """Marks what trains, in place; with `lora`, also adds the layers.

    Args:
        model: A Hugging Face model.
        tuning: `lora` (adapters beside frozen weights), `full` or `frozen`.
        lora: Options of `peft.LoraConfig` over the defaults of `LORA`.
        gradient_checkpointing: Compute activations of a block again in the backward pass, to save memory.

    Returns:
        The model, wrapped by PEFT for `lora`.

    Raises:
        ConfigError: The options cannot be used with this model.
    """
    if gradient_checkpointing:
        # Not re-entrant: a re-entrant one drops gradients where no input of a block needs one.
        # transformers has called it activation checkpointing in its newer versions, and warns of the older name.
        name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        getattr(model, f"{name}_checkpointing_enable")(**{f"{name}_checkpointing_kwargs": {"use_reentrant": False}})
    if tuning == "lora":
        return _with_lora(model, {**LORA, **(lora or {})})
    trained: nn.Module = model.requires_grad_(tuning == "full")
    return trained


def _with_lora(model: Any, options: dict[str, Any]) -> nn.Module:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper
    from transformers.pytorch_utils import Conv1D

    if options.get("trainable_token_indices"):
        raise ConfigError("model.lora.trainable_token_indices: leave it out; new tokens have a table of their own")
    options.setdefault("fan_in_fan_out", any(isinstance(part, Conv1D) for part in model.modules()))
    _check_targets(model, options.get("target_modules"))
    try:
        with warnings.catch_warnings():  # PEFT asks by a name that transformers has given up
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
            adapted = get_peft_model(model, LoraConfig(**options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model.lora: {str(error).splitlines()[0]}") from error
    # PEFT's wrappers pass an embedding subclass by, so the OOV rows would not be seen.
    base: Any = adapted.get_base_model()
    tables = [*readers(base), base.get_output_embeddings()]
    if any(isinstance(layer, BaseTunerLayer | AuxiliaryTrainingWrapper) for layer in tables):
        raise ConfigError(
            "model.lora: the embedding and the language-model head cannot be adapted (target_modules, "
            "modules_to_save); the new tokens have a table of their own"
        )
    return adapted


def _check_targets(model: Any, targets: Any) -> None:
    """Refuses names of layers that the model has not; PEFT does so only where none of them is there."""
    if not isinstance(targets, list | tuple):
        return
    layers = [name for name, part in model.named_modules() if name and not list(part.children())]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name, _ in model.named_modules()):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in layers}))
            raise ConfigError(f"model.lora.target_modules: no layer is called {target!r}; the model has {known}")


def is_tied(model: Any) -> bool:
    """Whether the language-model head is the embedding table itself."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def freeze_unread(model: Any) -> None:
    """Freezes what no loss of the ranking tasks reads: the gain and bias of the final norm, an untied head.

    They would get no gradient, which a distributed strategy takes for an error.
    """
    final_norm(model).requires_grad_(requires_grad=False)
    head = model.get_output_embeddings()
    if head is not None and not is_tied(model):
        head.requires_grad_(requires_grad=False)
