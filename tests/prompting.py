"""A module whose weights tell mistakes apart, and batches of its prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from metatoken.tasks.batch import Batch, collate
from metatoken.tasks.task import find_template


def moved(module: Any, noise: float = 0.3, backbone: float = 0.05, seed: int = 1) -> Any:
    """The module, every trained weight of which now differs from its start.

    Args:
        module: A model.
        noise: Standard deviation of the moves.
        backbone: The same of the weights inside the backbone.
        seed: Of the moves.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in module.network.named_parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * (backbone if name.startswith("backbone") else noise))
    return module


def prompts(module: Any, histories: Iterable[Sequence[int] | np.ndarray], template: str = "seq-1") -> Batch:
    """One batch with a prompt for each history."""
    builder, words = module.builder, find_template(template)
    examples = [builder.prompt(words, None, np.asarray(items, dtype=np.int64)) for items in histories]
    return collate(examples, builder.encoder.pad_id)
