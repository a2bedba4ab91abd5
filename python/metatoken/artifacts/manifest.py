"""The manifest of an artifact: what it is, its schema, and a checksum for every file, its own too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from metatoken.artifacts.failures import reachable
from metatoken.artifacts.formats import FORMAT, read_json, sha256, write_json
from metatoken.artifacts.places import NAME
from metatoken.errors import ArtifactError

MANIFEST = "manifest.json"
OWN_SUM = "checksum"


def write_manifest(
    folder: Path,
    kind: str,
    schema: int,
    names: Iterable[str] | None = None,
    place: Path | None = None,
    **fields: Any,
) -> None:
    """Write `manifest.json` over the other files of a folder, which are all written.

    Args:
        folder: The artifact.
        kind: What it is, e.g. `"vocabulary"`.
        schema: Version of the layout, from 1.
        names: The files that are listed, relative to the folder; by default all.
        place: Where to write it, by default into the folder.
        **fields: Anything that JSON can hold.
    """
    if names is None:
        names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    sums = {name: sha256(folder / name) for name in sorted(names) if name != MANIFEST}
    manifest = {"format": FORMAT, "kind": kind, "schema": schema, **fields, "files": sums}
    write_json(place or folder / MANIFEST, {**manifest, OWN_SUM: own_sum(manifest)})


def read_manifest(folder: str | Path, kind: str, schema: int, needed: Iterable[str] = ()) -> dict[str, Any]:
    """Read `manifest.json` of an artifact of this kind and at most this schema, and check every file it names.

    Args:
        folder: The artifact.
        kind: What it must be.
        schema: The newest layout that the caller can read.
        needed: Files that are read later and must be among those that are checked.

    Raises:
        ArtifactError: No artifact, another kind, a newer schema, or a file (the manifest too) that is missing, altered
            or not listed.
    """
    folder = Path(folder)
    manifest = read_header(folder)
    if manifest["kind"] != kind:
        raise ArtifactError(f"{folder}: is a {manifest['kind']}, expected a {kind}")
    found = manifest["schema"]
    if found > schema:
        raise ArtifactError(
            f"{folder}: schema {found} was written by a newer metatoken (this one reads up to {schema}); "
            "upgrade metatoken or save the artifact again"
        )
    if manifest.pop(OWN_SUM, None) != own_sum(manifest):
        raise _altered(folder / MANIFEST)
    if unlisted := sorted(set(needed) - set(manifest["files"])):
        raise ArtifactError(f"{folder / MANIFEST}: does not list {unlisted[0]}, without which this is no {kind}")
    check_files(folder, manifest["files"], kind)
    return manifest


def check_files(folder: Path, files: Mapping[str, str], kind: str) -> None:
    """Compares files with their checksums: `ArtifactError` for one that is missing or altered."""
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ArtifactError(f"{file}: missing; the manifest of this {kind} names it, save the {kind} again")
        if sha256(file) != expected:
            raise _altered(file)


def artifact_files(manifest: Mapping[str, Any]) -> set[str]:
    """Names of the files that a manifest lists."""
    return set(manifest["files"])


def artifact_folders(folder: Path) -> list[Path]:
    """The artifacts that stand anywhere inside of a folder, itself and what writers have not finished aside."""
    found = [path.parent for path in folder.rglob(MANIFEST) if path.parent != folder]
    return sorted(one for one in found if not any(map(NAME.fullmatch, one.relative_to(folder).parts)))


def read_header(folder: str | Path) -> dict[str, Any]:
    """Read `manifest.json` of an artifact of any kind, and check nothing but its form: `ArtifactError`."""
    folder = reachable(folder)
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


def _altered(file: Path) -> ArtifactError:
    return ArtifactError(f"{file}: altered or damaged since it was saved (checksum differs)")


def own_sum(manifest: Mapping[str, Any]) -> str:
    """Checksum of a manifest without its own checksum, whatever the layout of the JSON."""
    return hashlib.sha256(json.dumps(dict(manifest), sort_keys=True).encode()).hexdigest()


def _inside(name: str) -> bool:
    """Whether a name of the manifest stays within the folder."""
    parts = PurePosixPath(name)
    return "\0" not in name and not parts.is_absolute() and ".." not in parts.parts
