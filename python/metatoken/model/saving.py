"""A trained model on disk: settings, tokenizer, trainable weights; a frozen backbone is named, not copied.

model/  settings.json  tokenizer/  weights.safetensors  adapter/ (PEFT layout, LoRA only)  manifest.json
        features.safetensors (where the model has item features)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from metatoken.artifacts import (
    atomic_folder,
    read_json,
    read_manifest,
    read_tensors,
    write_json,
    write_manifest,
    write_tensors,
)
from metatoken.errors import ArtifactError
from metatoken.model.backbone import PRESETS
from metatoken.model.module import MetaTokenModule, settings_from_dict

if TYPE_CHECKING:
    from metatoken.tokens.vocabulary import Vocabulary

KIND, SCHEMA, FEATURES = "model", 1, "features.safetensors"


def save_model(module: MetaTokenModule, folder: str | Path) -> None:
    """Writes a model folder, whole or not at all.

    Args:
        module: The model.
        folder: Where to; an older model there is replaced.
    """
    from safetensors.torch import save_file

    adapted = module.settings.backbone not in PRESETS
    with atomic_folder(folder, kind=KIND) as work:
        write_json(work / "settings.json", module.settings_dict())
        module.tokenizer.save_pretrained(work / "tokenizer")
        if adapted:
            model: Any = module.network.backbone.model
            model.save_pretrained(work / "adapter")
            (work / "adapter" / "README.md").unlink(missing_ok=True)
        if module.item_features is not None:
            write_tensors(work / FEATURES, {"features": module.item_features})
        save_file(_own_weights(module), work / "weights.safetensors")
        write_manifest(work, KIND, SCHEMA, backbone=module.settings.backbone)


def load_model(folder: str | Path, vocabulary: Vocabulary) -> MetaTokenModule:
    """Reads a model folder.

    Args:
        folder: Written by `save_model`.
        vocabulary: The vocabulary that it was trained with.

    Returns:
        The model in evaluation mode.

    Raises:
        ArtifactError: A file is missing or altered, or the weights are of another vocabulary.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    read_manifest(folder, KIND, SCHEMA)
    features = None
    if (folder / FEATURES).is_file():
        features = read_tensors(folder / FEATURES, ["features"])[0]["features"]
    settings = settings_from_dict(read_json(folder / "settings.json"))
    module = MetaTokenModule(vocabulary, settings, features=features)
    weights = load_file(folder / "weights.safetensors")
    expected = _own_weights(module)
    if set(weights) != set(expected):
        odd = min(set(weights) ^ set(expected))
        raise ArtifactError(f"{folder}: the weights do not fit this version of the model, e.g. {odd}")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise ArtifactError(
                f"{folder}: {name} has shape {list(value.shape)}, the vocabulary needs "
                f"{list(expected[name].shape)}; use the vocabulary that the model was trained with"
            )
        with torch.no_grad():
            expected[name].copy_(value)
    if (folder / "adapter").is_dir():
        from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

        adapter = load_peft_weights(str(folder / "adapter"), device="cpu")
        result: Any = set_peft_model_state_dict(module.network.backbone.model, adapter)
        if result.unexpected_keys:
            raise ArtifactError(f"{folder}: the adapter has unknown weights, e.g. {result.unexpected_keys[0]}")
    return module.eval()


def _own_weights(module: MetaTokenModule) -> dict[str, torch.Tensor]:
    """Weights that are saved as tensors, each storage once: all but the frozen backbone and its adapter."""
    adapted = module.settings.backbone not in PRESETS
    return {
        name: parameter.data
        for name, parameter in module.network.named_parameters()
        if not (adapted and name.startswith("backbone."))
    }
