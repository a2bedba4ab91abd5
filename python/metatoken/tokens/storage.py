"""The vocabulary on disk.

manifest.json          schema, settings, seed, versions, checksum of the source and of every file below
entities.parquet       kind, id, codes, trained, origin, title: users, then items, each in the order of their rows
codebook.safetensors   what assigns codes to vectors
vectors.safetensors    vectors of the entities, centroids of the tokens, the fold-in map
trie.safetensors       the item codes as a prefix tree, for decoding; not with `unique="none"`
scores.json            memorization, diversity, balance; only if they were given
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import metatoken._core as core
from metatoken import artifacts
from metatoken.data.ids import IdMap
from metatoken.errors import ArtifactError
from metatoken.tokens.codes.clustering import Codebook
from metatoken.tokens.fold_in import FoldIn
from metatoken.tokens.trie import Trie
from metatoken.tokens.vectors.cold import ORIGINS, count_origins

if TYPE_CHECKING:
    from metatoken.tokens.vocabulary import Vocabulary

KIND = "vocabulary"
SCHEMA = 3  # 1: entities without `origin`; 2: not extended
ENTITIES = "entities.parquet"
CODEBOOK = "codebook.safetensors"
VECTORS = "vectors.safetensors"
TRIE = "trie.safetensors"
SCORES = "scores.json"
VECTOR_NAMES = ("vectors", "centroids", "fold_in.weight", "fold_in.bias", "fold_in.mean_user")
COLUMNS: dict[str, pl.DataType] = {
    "kind": pl.String(),
    "id": pl.String(),
    "codes": pl.List(pl.Int32()),
    "trained": pl.Boolean(),
    "title": pl.String(),
}
ORIGIN = {"origin": pl.Enum(ORIGINS)}


def save_vocabulary(vocabulary: Vocabulary, path: Path, scores: Mapping[str, Any] | None) -> None:
    """Write a vocabulary; see `Vocabulary.save`."""
    with artifacts.atomic_folder(path, kind=KIND) as folder:
        artifacts.write_frame(folder / ENTITIES, _entities(vocabulary))
        _write_codebooks(folder / CODEBOOK, vocabulary)
        artifacts.write_tensors(
            folder / VECTORS,
            {
                "vectors": vocabulary.vectors,
                "centroids": vocabulary.centroids,
                **{f"fold_in.{name}": value for name, value in vars(vocabulary.fold_in).items()},
            },
        )
        if len(np.unique(vocabulary.item_codes, axis=0)) == vocabulary.n_items:
            artifacts.write_tensors(folder / TRIE, Trie.from_codes(vocabulary.item_codes).tensors())
        if scores is not None:
            artifacts.write_json(folder / SCORES, dict(scores))
        artifacts.write_manifest(
            folder,
            KIND,
            SCHEMA if vocabulary.earlier else SCHEMA - 1,
            levels=list(vocabulary.levels),
            earlier=[list(sizes) for sizes in vocabulary.earlier],
            source=vocabulary.source,
            learned_from=vocabulary.learned_from,
            n_targets=vocabulary.n_targets,
            settings=dict(vocabulary.settings),
            report=dict(vocabulary.report),
            origins=count_origins(vocabulary.origins, vocabulary.n_users),
            counts={"users": vocabulary.n_users, "items": vocabulary.n_items, "tokens": vocabulary.n_tokens},
            versions={"metatoken": core.__version__},
        )


def read_vocabulary(folder: Path) -> dict[str, Any]:
    """Read the fields of a vocabulary; see `Vocabulary.load`."""
    with artifacts.read_as(KIND, folder):
        return _fields(folder, artifacts.read_manifest(folder, KIND, SCHEMA, (ENTITIES, CODEBOOK, VECTORS)))


def _fields(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    expected = COLUMNS if manifest["schema"] == 1 else COLUMNS | ORIGIN
    entities = artifacts.read_frame(folder / ENTITIES, expected)
    tensors, _ = artifacts.read_tensors(folder / VECTORS, VECTOR_NAMES)
    codebook, user_codebook = _read_codebooks(folder / CODEBOOK)
    levels = tuple(manifest["levels"])
    codes = _codes(entities["codes"], len(levels))
    if (codes >= np.array(levels, dtype=np.int64)).any() or (codes < -1).any():
        raise ArtifactError(f"{folder}: {ENTITIES} holds codes beyond the levels {list(levels)}; save it again")
    n_users = int((entities["kind"] == "user").sum())
    if (entities["kind"][:n_users] != "user").any() or (entities["kind"][n_users:] != "item").any():
        raise ArtifactError(f"{folder}: {ENTITIES} does not hold users, then items; save the vocabulary again")
    if len(tensors["vectors"]) != len(entities) or len(tensors["centroids"]) != sum(levels):
        raise ArtifactError(f"{folder}: {VECTORS} does not fit {ENTITIES}; save the vocabulary again")
    titles = entities["title"][n_users:]
    fold_in = {name.removeprefix("fold_in."): tensors[name] for name in VECTOR_NAMES if name.startswith("fold_in.")}
    origins = {}
    if "origin" in entities.columns:
        origins = {"origins": entities["origin"].to_physical().cast(pl.UInt8).to_numpy()}
    return {
        "users": IdMap(entities["id"][:n_users], "user"),
        "items": IdMap(entities["id"][n_users:], "item"),
        "user_codes": codes[:n_users],
        "item_codes": codes[n_users:],
        "levels": levels,
        "centroids": tensors["centroids"],
        "vectors": tensors["vectors"],
        "trained": entities["trained"].to_numpy(),
        "codebook": codebook,
        "user_codebook": user_codebook,
        "fold_in": FoldIn(**fold_in),
        "titles": None if titles.null_count() else titles.to_list(),
        **{name: manifest[name] for name in ("settings", "report", "source", "learned_from")},
        "n_targets": manifest.get("n_targets"),
        "earlier": tuple((users, items, tokens) for users, items, tokens in manifest.get("earlier", [])),
        **origins,
    }


def read_scores(folder: str | Path) -> dict[str, Any] | None:
    """The scores that were saved with a vocabulary, or `None`; errors as in `Vocabulary.load`."""
    manifest = artifacts.read_manifest(folder, KIND, SCHEMA)
    return dict(artifacts.read_json(Path(folder) / SCORES)) if SCORES in manifest["files"] else None


def _entities(vocabulary: Vocabulary) -> pl.DataFrame:
    codes = [*vocabulary.user_codes.tolist(), *vocabulary.item_codes.tolist()]
    titles: list[str | None] = [None] * vocabulary.n_users
    titles += vocabulary.titles or [None] * vocabulary.n_items
    columns = {
        "kind": [kind for kind in ("user", "item") for _ in vocabulary.ids(kind)],
        "id": [*vocabulary.users.raw, *vocabulary.items.raw],
        "codes": [[code for code in row if code >= 0] for row in codes],
        "trained": vocabulary.trained,
        "title": titles,
    }
    origins = pl.Series("origin", [ORIGINS[place] for place in vocabulary.origins.tolist()], ORIGIN["origin"])
    return pl.DataFrame(columns, schema=COLUMNS).insert_column(len(COLUMNS) - 1, origins)


def _codes(column: pl.Series, depth: int) -> NDArray[np.int32]:
    """Codes of a list column, int32 `[n, depth]`, padded with -1."""
    codes = np.full((len(column), depth), -1, np.int32)
    codes[np.arange(depth) < column.list.len().to_numpy()[:, None]] = column.explode().to_numpy()
    return codes


def _write_codebooks(path: Path, vocabulary: Vocabulary) -> None:
    books = {"item": vocabulary.codebook}
    if vocabulary.user_codebook is not vocabulary.codebook:
        books["user"] = vocabulary.user_codebook
    tensors = {f"{name}.{key}": array for name, book in books.items() for key, array in book.tensors().items()}
    artifacts.write_tensors(path, tensors, {name: book.meta() for name, book in books.items()})


def _read_codebooks(path: Path) -> tuple[Codebook, Codebook]:
    tensors, meta = artifacts.read_tensors(path)
    books = {}
    for name, settings in meta.items():
        parts = {key.removeprefix(f"{name}."): x for key, x in tensors.items() if key.startswith(f"{name}.")}
        books[name] = Codebook.from_tensors(parts, settings)
    return books["item"], books.get("user", books["item"])
