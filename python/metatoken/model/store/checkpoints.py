"""Checkpoints that can be resumed from: what is in them, how they are checked.

A checkpoint holds the trainable weights, the optimizer and its schedule, the place in the data
(`metatoken.tasks.sampling.ResumableLoader`), Lightning's counters and the random state; never a frozen backbone, which
is on disk already.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from metatoken.artifacts.formats import told
from metatoken.errors import REMEDY, ArtifactError, ConfigError, DivergedError
from metatoken.model.backbone.presets import PRESETS
from metatoken.tasks.prompts import preset_tokenizer
from metatoken.tasks.rating_base import RatingBase
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from metatoken.model.model import MetaTokenModel

OWNER = "run"  # key of a checkpoint: what it belongs to


def owner_of(path: Path) -> str | None:
    """What a checkpoint belongs to; None where it does not say."""
    found: str | None = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get(OWNER)
    return found


def check_finite(checkpoint: Mapping[str, Any]) -> None:
    """Refuses weights that are no numbers, which nobody could go on from: `DivergedError`."""
    for name, value in checkpoint.get("state_dict", {}).items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            place = f"epoch {checkpoint.get('epoch', 0) + 1}, step {checkpoint.get('global_step', 0)}"
            raise DivergedError(f"training diverged: {name} holds values that are no numbers in {place}; {REMEDY}")


def trainable_names(module: nn.Module) -> set[str]:
    """Names of all trainable parameters; a tied one counts under each of its names."""
    trained = {id(p) for p in module.parameters() if p.requires_grad}
    return {name for name, p in module.named_parameters(remove_duplicate=False) if id(p) in trained}


def check_weights(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Checks that weights are those of the trainable parameters, one for one.

    Raises:
        ConfigError: Names are missing or unknown, or a shape differs.
    """
    names = trainable_names(module)
    trained = {name: p for name, p in module.named_parameters(remove_duplicate=False) if name in names}
    if misfit := find_misfit(weights, trained):
        hint = "resume with the model, the vocabulary and the adapter that it was made with"
        raise ConfigError(f"checkpoint: {misfit}; {hint}")


def find_misfit(weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str | None:
    """How weights differ in names or shapes from those of a model, in words; None where they do not."""
    for names, problem in ((set(expected) - set(weights), "missing"), (set(weights) - set(expected), "unknown")):
        if names:
            some = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
            return f"{len(names)} weights are {problem} ({some})"
    for name in sorted(expected):
        if weights[name].shape != expected[name].shape:
            return f"{name} has shape {list(weights[name].shape)}, the model {list(expected[name].shape)}"
    return None


def model_state(model: MetaTokenModel) -> dict[str, Any]:
    """What a model is made of beside settings and weights, as tensors and plain values; `saved_arguments` reads it."""
    found: dict[str, Any] = {}
    if model.settings.backbone in PRESETS:  # others have their tokenizer where their weights are
        found["tokenizer"] = model.tokenizer.backend_tokenizer.to_str()
    if model.ratings is not None:
        found["ratings"] = {name: torch.from_numpy(value) for name, value in model.ratings.tensors().items()}
    return found


def saved_arguments(path: str | Path) -> dict[str, Any]:
    """Arguments that a checkpoint knows of the model whose weights it holds; few, where it is of an older version.

    Raises:
        ArtifactError: It cannot be read.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        known: dict[str, Any] = dict(found.get("hyper_parameters", {}))
    except Exception as error:  # torch has many words for what is none of its files
        raise ArtifactError(f"{path}: is no checkpoint that can be read ({told(error)})") from error
    if "tokenizer" in found:
        known["tokenizer"] = preset_tokenizer(found["tokenizer"])
    if "ratings" in found:
        arrays = {name: value.numpy() for name, value in found["ratings"].items()}
        known["ratings"] = RatingBase.from_tensors(arrays, [task.name for task in tasks_of(known["tasks"], "rate")])
    return known


def random_state() -> dict[str, Any]:
    """State of the generators of Python, NumPy and torch (CPU and CUDA), as tensors and plain values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Sets what `random_state` returned; CUDA's only where there are as many devices as then."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if len(state.get("cuda", ())) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
