"""What of a backbone is trained: LoRA layers, everything, or nothing.

The OOV rows, their projection and the item vectors live outside the backbone and train in every mode.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from metatoken.config import shown
from metatoken.errors import ConfigError
from metatoken.model.backbone.norm import final_norm
from metatoken.model.embedding import readers

if TYPE_CHECKING:
    from metatoken.model.settings import Tuning

# Every linear layer of the blocks, whatever the architecture calls them; never the language-model head.
LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
NAMING = ("target_modules", "exclude_modules", "modules_to_save", "rank_pattern", "alpha_pattern", "target_parameters")


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
    _check_names(model, options)
    known = _layers_of(model)
    try:
        with warnings.catch_warnings():  # PEFT asks by a name that transformers has given up
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
            adapted = get_peft_model(model, LoraConfig(**options))
    except (TypeError, ValueError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:160]
        raise ConfigError(f"model.lora: {said}" + (f"; {known}" if "odule" in said else "")) from error
    # PEFT's wrappers pass an embedding subclass by, so the OOV rows would not be seen.
    base: Any = adapted.get_base_model()
    tables = [*readers(base), base.get_output_embeddings()]
    if any(isinstance(layer, BaseTunerLayer | AuxiliaryTrainingWrapper) for layer in tables):
        raise ConfigError(
            "model.lora: the embedding and the language-model head cannot be adapted (target_modules, "
            "modules_to_save); the new tokens have a table of their own"
        )
    return adapted


def _check_names(model: Any, options: Mapping[str, Any]) -> None:
    """Refuses names of layers that the model has not; PEFT passes over most of them, or says nothing of what there is.

    PEFT reads a text as a regular expression of whole names, a list as last parts of names, and the keys of a mapping
    as regular expressions of such parts.
    """
    layers = [name for name, _ in model.named_modules() if name]
    for option in NAMING:
        given = options.get(option)
        if given is None or (option == "target_modules" and given == "all-linear"):
            continue
        known = [name for name, _ in model.named_parameters()] if option == "target_parameters" else layers
        asked = [given] if isinstance(given, str) else given
        sound = isinstance(given, list | tuple | set | dict) or (isinstance(given, str) and option in NAMING[:2])
        if not sound or not all(isinstance(one, str) for one in asked):
            said = f"expected names of layers such as [q_proj, v_proj], got {shown(given)}"
            raise ConfigError(f"model.lora.{option}: {said}")
        for name in asked:
            last = rf"(.*\.)?({name if isinstance(given, dict) else re.escape(name)})"
            if not _finds(name if isinstance(given, str) else last, known, option):
                said = f"no layer is called {name!r}; {_layers_of(model, every=option == 'modules_to_save')}"
                if isinstance(given, str) and _finds(last, known, option):
                    said = f"a text is a regular expression of whole names; say [{name}]"
                raise ConfigError(f"model.lora.{option}: {said}")


def _finds(pattern: str, names: list[str], option: str) -> bool:
    """Whether a regular expression fits one of the names."""
    try:
        return any(map(re.compile(pattern).fullmatch, names))
    except re.error as error:
        raise ConfigError(f"model.lora.{option}: {pattern!r} is no regular expression ({error})") from error


def _layers_of(model: Any, *, every: bool = False) -> str:
    """The layers that can be adapted, or every layer, by the last parts of their names."""
    from transformers.pytorch_utils import Conv1D

    head, kind = model.get_output_embeddings(), nn.Module if every else nn.Linear | Conv1D
    found = [name for name, part in model.named_modules() if isinstance(part, kind) and not list(part.children())]
    names = {name.rsplit(".", 1)[-1] for name in found if model.get_submodule(name) is not head}
    return f"the model has {', '.join(sorted(names))}"


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
