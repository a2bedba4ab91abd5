"""A trained model on disk: settings, tokenizer, trainable weights; a frozen backbone is named, not copied.

model/  settings.json  tokenizer/  weights.safetensors  adapter/ (PEFT layout, LoRA only)  manifest.json
        features.safetensors (where the model has item features)  ratings.safetensors (where it has a rating head)
        newcomers.safetensors (where it was extended, and not trained since)
        backbone/ (where it was given as an object, which has no other place)

After full fine-tuning the weights hold the backbone, too; its architecture still comes from where it came.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from metatoken.artifacts import (
    atomic_folder,
    read_as,
    read_json,
    read_manifest,
    read_tensors,
    write_json,
    write_manifest,
    write_tensors,
)
from metatoken.artifacts.manifest import read_header
from metatoken.errors import ArtifactError
from metatoken.model.backbone.given import save_given
from metatoken.model.backbone.presets import PRESETS, PresetSize
from metatoken.model.backbone.pretrained import OBJECT, load_saved
from metatoken.model.growth import begin
from metatoken.model.model import MetaTokenModel
from metatoken.model.settings import ModelSettings
from metatoken.model.store.checkpoints import find_misfit
from metatoken.tasks.prompts import load_tokenizer
from metatoken.tasks.rating_base import RatingBase
from metatoken.tasks.task import tasks_of
from metatoken.tokens.vectors.cold import FeatureMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.model.growth import Growth
    from metatoken.tokens.vocabulary import Vocabulary

KIND, SCHEMA, TOKENIZER, WEIGHTS = "model", 1, "tokenizer", "weights.safetensors"
BACKBONE = "backbone"
FEATURES, RATINGS, NEWCOMERS = "features.safetensors", "ratings.safetensors", "newcomers.safetensors"


def save_model(module: MetaTokenModel, folder: str | Path) -> None:
    """Writes a model folder, whole or not at all; an older model there is replaced."""
    from safetensors.torch import save_file

    with atomic_folder(folder, kind=KIND) as work:
        write_json(work / "settings.json", asdict(module.settings))
        module.tokenizer.save_pretrained(work / TOKENIZER)
        if module.settings.backbone.startswith(OBJECT):
            whole = module.settings.tuned == "full"
            save_given(module.network.backbone.bare(), work / BACKBONE, whole=whole)
        if module.settings.tuned == "lora":
            model: Any = module.network.backbone.model
            # Not "auto", which looks the backbone up to compare its number of tokens.
            model.save_pretrained(work / "adapter", save_embedding_layers=False)
            (work / "adapter" / "README.md").unlink(missing_ok=True)
        if module.item_features is not None:
            write_tensors(work / FEATURES, {"features": module.item_features})
        if module.ratings is not None:
            write_tensors(work / RATINGS, module.ratings.tensors())
        if module.newcomers is not None:
            write_tensors(work / NEWCOMERS, module.newcomers.tensors())
        save_file(_own_weights(module), work / WEIGHTS)
        write_manifest(work, KIND, SCHEMA, backbone=module.settings.backbone)


def load_model(folder: str | Path, vocabulary: Vocabulary, growth: Growth | None = None) -> MetaTokenModel:
    """Reads a model folder.

    Args:
        folder: Written by `save_model`.
        vocabulary: The vocabulary that it was trained with, or one that this was extended to.
        growth: What the rows of new items and tokens begin with; given if and only if it was extended.

    Returns:
        The model, in evaluation mode; `MetaTokenModule.of` makes it one that Lightning trains.

    Raises:
        ArtifactError: A file is missing or altered, or the weights belong to another vocabulary.
    """
    folder = Path(folder)
    with read_as(KIND, folder):
        read_manifest(folder, KIND, SCHEMA, ("settings.json", WEIGHTS))
        return _load(folder, vocabulary, growth)


def _load(folder: Path, vocabulary: Vocabulary, growth: Growth | None) -> MetaTokenModel:
    from safetensors.torch import load_file

    features = load_features(folder)
    settings = _as_saved(ModelSettings.of(None, read_json(folder / "settings.json")))
    rated = [task.name for task in tasks_of(settings.tasks, "rate")]
    ratings = load_ratings(folder, rated) if rated else None
    if growth is not None:
        features = None if features is None else growth.item_features(features)
        ratings = None if ratings is None else growth.rating_base(ratings)
    # The weights belong to the tokens that were saved: templates, and the folder of a backbone, may have changed since.
    # A folder without them gets them as a new model does.
    saved = folder / TOKENIZER
    tokenizer = load_tokenizer(saved) if saved.is_dir() else None
    given: dict[str, Any] = {"backbone": load_saved(folder / BACKBONE)} if settings.backbone.startswith(OBJECT) else {}
    module = MetaTokenModel(vocabulary, settings, features=features, tokenizer=tokenizer, ratings=ratings, **given)
    module.newcomers = load_newcomers(folder)
    weights, own = load_file(folder / WEIGHTS), _own_weights(module)
    if growth is not None:
        weights = growth.weights(weights, own)
    if misfit := find_misfit(weights, own):
        raise ArtifactError(f"{folder}: {misfit}; use the vocabulary that the model was trained with")
    if broken := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise ArtifactError(f"{folder}: {broken[0]} holds values that are no numbers; train again")
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
    if growth is not None:
        module.newcomers = begin(module.network.items, growth, module.newcomers)
    if module.settings.tuned == "lora":
        _load_adapter(module.network.backbone.model, folder / "adapter")
    return module.eval()


def _as_saved(settings: ModelSettings) -> ModelSettings:
    """Settings that name what older versions left out: they wrote histories, and had another length of OOV vectors."""
    settings = settings.as_before
    if settings.input_norm is not None or settings.backbone not in PRESETS:
        return settings
    dim = PresetSize.of(PRESETS[settings.backbone], settings.preset).dim
    return replace(settings, input_norm=0.25 * math.sqrt(dim))


def load_features(folder: Path) -> np.ndarray | None:
    """Reads the item features of a model folder, float32 `[n_items, f]`; None where it has none."""
    if FEATURES not in read_header(folder)["files"]:
        return None
    return read_tensors(folder / FEATURES, ["features"])[0]["features"]


def load_newcomers(folder: Path) -> FeatureMap | None:
    """Reads where the vectors of new items begin; None where that is to be fitted, see `model.growth`."""
    if NEWCOMERS not in read_header(folder)["files"]:
        return None
    return FeatureMap.from_tensors(read_tensors(folder / NEWCOMERS, ["centre", "weight", "mean", "numbers"])[0])


def load_ratings(folder: Path, tasks: Sequence[str]) -> RatingBase:
    """Reads the meaning of the rating head from a model folder, for the tasks of the model that rate.

    Raises:
        ArtifactError: It is missing or altered.
    """
    return RatingBase.from_tensors(read_tensors(folder / RATINGS, RatingBase.NAMES)[0], tasks)


def _load_adapter(model: Any, folder: Path) -> None:
    from peft.utils.save_and_load import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict

    if not folder.is_dir():
        raise ArtifactError(f"{folder}: missing; save the model again")
    weights = load_peft_weights(str(folder), device="cpu")
    if misfit := find_misfit(weights, get_peft_model_state_dict(model, save_embedding_layers=False)):
        raise ArtifactError(f"{folder}: {misfit}; save the model again")
    set_peft_model_state_dict(model, weights)


def _own_weights(module: MetaTokenModel) -> dict[str, torch.Tensor]:
    """Weights that are saved as tensors, each storage once: all but an untrained backbone and its adapter."""
    whole = module.settings.tuned == "full"
    return {
        name: parameter.data
        for name, parameter in module.network.named_parameters()
        if whole or not name.startswith("backbone.")
    }
