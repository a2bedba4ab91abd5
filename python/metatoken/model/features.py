"""Item features from a table of titles, made once: the artifact says from which words and which weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.artifacts import read_manifest
from metatoken.errors import ArtifactError
from metatoken.model.backbone.pretrained import load_pretrained
from metatoken.model.text import Progress, text_vectors, whiten
from metatoken.tokens.features import KIND, SCHEMA, ItemFeatures, texts_checksum

if TYPE_CHECKING:
    from torch import nn


def title_features(
    ids: Sequence[str],
    titles: Sequence[str],
    backbone: str,
    *,
    layer: int | None = None,
    components: int | None = None,
    max_tokens: int = 64,
    precision: str = "auto",
    cached: str | Path | None = None,
    progress: Progress | None = None,
) -> ItemFeatures:
    """Text vectors of the titles of raw item ids.

    They have `components` whitened principal components, or None for the plain states. Where `cached`, a folder of
    earlier features, has them from the same words, weights and settings, nothing is computed. Other arguments as in
    `text_vectors`.
    """
    model, tokenizer = load_pretrained(backbone)
    source = {
        "backbone": backbone, "backbone_sha256": weights_checksum(model), "texts_sha256": texts_checksum(ids, titles),
        "layer": layer, "components": components, "max_tokens": max_tokens, "precision": precision,
    }  # fmt: skip
    if cached is not None and _source(cached) == source:
        return ItemFeatures.load(cached)
    vectors = text_vectors(
        titles, (model, tokenizer), layer=layer, max_tokens=max_tokens, precision=precision, progress=progress
    )
    if components is not None:
        vectors = whiten(vectors, components)
    return ItemFeatures(list(ids), vectors, list(titles), source)


def weights_checksum(model: nn.Module) -> str:
    """Checksum of a model's weights, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().flatten().numpy().tobytes())
    return digest.hexdigest()


def _source(folder: str | Path) -> object:
    """What sound features in a folder were made from; None where there are none."""
    with suppress(ArtifactError):
        return read_manifest(folder, KIND, SCHEMA)["source"]
    return None
