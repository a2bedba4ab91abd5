"""Saved artifacts: folders of safetensors, Parquet and JSON with a manifest, written whole or not at all.

Everything here writes the same bytes for the same content, so that two runs can be compared with `cmp`. A folder is
built beside its place and renamed at the end; reading checks every file against the checksum in `manifest.json`. A file
that is missing, altered or of another form is an `ArtifactError`, and so is a place that cannot be written.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metatoken.errors import ArtifactError

MANIFEST = "manifest.json"
FORMAT = "metatoken"
OWN_SUM = "checksum"


@contextmanager
def atomic_folder(path: str | Path, *, kind: str) -> Iterator[Path]:
    """Build a folder that appears under its name only when it is complete; an empty one or one of its kind is replaced.

    Yields:
        A new folder to write into, renamed to `path` at the end, removed if an exception leaves the block.

    Raises:
        ArtifactError: `path` holds something other than an artifact of this kind, or cannot be written.
    """
    path = Path(path).absolute()
    _check_replaceable(path, kind)
    with _beside(path) as work:
        work.mkdir()
        yield work
        _swap(work, path)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Write a file that appears under its name only when it is complete; an existing one is replaced.

    Yields:
        A path beside it to write to, with the same suffix.
    """
    path = Path(path).absolute()
    if path.is_dir():
        raise ArtifactError(f"{path}: is a folder, expected a file")
    with _beside(path) as work:
        yield work
        work.replace(path)


def write_manifest(folder: Path, kind: str, schema: int, **fields: Any) -> None:
    """Write `manifest.json` over all other files of a folder, which are all written.

    A kind is what the folder is, e.g. `"vocabulary"`, its schema the version of the layout, from 1; other fields are
    anything that JSON can hold.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    sums = {name: sha256(folder / name) for name in names if name != MANIFEST}
    manifest = {"format": FORMAT, "kind": kind, "schema": schema, **fields, "files": sums}
    write_json(folder / MANIFEST, {**manifest, OWN_SUM: _own_sum(manifest)})


def read_manifest(folder: str | Path, kind: str, schema: int) -> dict[str, Any]:
    """Read `manifest.json` of an artifact of this kind and at most this schema, and check every file it names.

    Raises:
        ArtifactError: No artifact, another kind, a newer schema, or a file (the manifest too) that is missing or
            altered.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    if manifest["kind"] != kind:
        raise ArtifactError(f"{folder}: is a {manifest['kind']}, expected a {kind}")
    found = manifest["schema"]
    if found > schema:
        raise ArtifactError(
            f"{folder}: schema {found} was written by a newer metatoken (this one reads up to {schema}); "
            "upgrade metatoken or save the artifact again"
        )
    if manifest.pop(OWN_SUM, None) != _own_sum(manifest):
        raise _altered(folder / MANIFEST)
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise ArtifactError(f"{file}: missing; the manifest of this {kind} names it, save the {kind} again")
        if sha256(file) != expected:
            raise _altered(file)
    return manifest


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; non-finite numbers are refused (`ValueError`), since JSON has none."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_json(path: Path) -> Any:
    """Read JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: is not JSON ({error})") from error


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None) -> None:
    """Write arrays by name, of any shape and memory layout, and a JSON value as safetensors."""
    # One key for all of the JSON, because safetensors writes its keys in random order.
    header = {FORMAT: json.dumps(dict(meta or {}), sort_keys=True, allow_nan=False)}
    # Not `save_file`, which makes files that nobody else may read.
    path.write_bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, header))


def read_tensors(path: Path, expected: Iterable[str] = ()) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays, of which the expected ones must be there, and the JSON value that `write_tensors` wrote."""
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            meta = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read as safetensors ({error})") from error
    if absent := sorted(set(expected) - set(tensors)):
        raise ArtifactError(f"{path}: has no array {', '.join(absent)}")
    return tensors, meta


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a table as Parquet; row groups have a fixed size, so the number of threads changes no byte."""
    frame.rechunk().write_parquet(path, compression="zstd", row_group_size=1 << 18, statistics=True)


def read_frame(path: Path, expected: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """Read a Parquet table that must have the expected columns of these types."""
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{path}: cannot be read as Parquet ({error})") from error
    for name, dtype in expected.items():
        if frame.schema.get(name) != dtype:
            raise ArtifactError(f"{path}: column {name} is {frame.schema.get(name)}, expected {dtype}")
    return frame


def _altered(file: Path) -> ArtifactError:
    return ArtifactError(f"{file}: altered or damaged since it was saved (checksum differs)")


def _own_sum(manifest: Mapping[str, Any]) -> str:
    """Checksum of a manifest without its own checksum, whatever the layout of the JSON."""
    return hashlib.sha256(json.dumps(dict(manifest), sort_keys=True).encode()).hexdigest()


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such folder")
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(f"{folder}: is not an artifact of metatoken (it has no {MANIFEST})")
    manifest = read_json(path)
    form = {"format": str, "kind": str, "schema": int, "files": dict}
    sound = isinstance(manifest, dict) and all(isinstance(manifest.get(key), kind) for key, kind in form.items())
    if not sound or manifest["format"] != FORMAT or not all(map(_inside, manifest["files"])):
        raise ArtifactError(f"{path}: is not a manifest of metatoken")
    return dict(manifest)


def _inside(name: str) -> bool:
    """Whether a name of the manifest stays within the folder."""
    parts = PurePosixPath(name)
    return not parts.is_absolute() and ".." not in parts.parts


def _check_replaceable(path: Path, kind: str) -> None:
    """Refuse to replace anything that is not ours: a slip in a path must not cost a person their files."""
    if not path.exists():
        return
    if not path.is_dir():
        raise ArtifactError(f"{path}: is a file, expected a folder; choose another place")
    files = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()}
    if not files:
        return
    try:
        manifest = _manifest(path)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: exists and is not a {kind} of metatoken; choose another place") from error
    if manifest["kind"] != kind:
        raise ArtifactError(f"{path}: is a {manifest['kind']}, not a {kind}; choose another place")
    if strange := sorted(files - set(manifest["files"]) - {MANIFEST}):
        raise ArtifactError(f"{path}: also holds {strange[0]}, which is not part of the {kind}; choose another place")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new name beside a path, in a folder that is made; what was made is removed if an exception leaves the block."""
    absent = [p for p in path.parents if not p.exists()]
    work = _sibling(path)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"{path.parent}: cannot make this folder ({error.strerror})") from error
        yield work
    except BaseException:
        if work.is_dir():
            shutil.rmtree(work, ignore_errors=True)
        elif work.exists():
            work.unlink()
        for folder in absent:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")


def _swap(work: Path, path: Path) -> None:
    """Rename `work` to `path`; what was there stays until its successor is in place."""
    if not path.exists():
        work.rename(path)
        return
    old = _sibling(path)
    path.rename(old)
    try:
        work.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old)
