"""What a run folder holds, and nothing else: the test that a folder passes before it is replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from metatoken.artifacts import MANIFEST
from metatoken.artifacts.manifest import artifact_files, artifact_folders, read_header
from metatoken.artifacts.places import NAME
from metatoken.artifacts.writing import refuse_surroundings, resolved
from metatoken.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTS = ("vocabulary", "items", "model", "partners", "baselines")  # artifacts with a manifest each, or folders of such
FILES = re.compile(
    r"(config\.yaml|(manifest|fusion|source|lineage|rebuilt|metrics)\.json|history\.parquet|training\.(json|csv)"
    r"|(predictions|answers|mapping)\.parquet|checkpoints/(last|best|best\.next)\.ckpt(\.partial|/.*)?"
    r"|tensorboard/(.*/)?(events\.out\.tfevents\..*|hparams\.yaml))"
)
# A run has them before it is trained, in every version; a person who writes a configuration leaves sections out.
BEGUN = ("config.yaml", "history.parquet", "vocabulary/manifest.json")
SECTIONS = {"data", "tokens", "model", "trainer", "evaluate", "seed"}
REMEDY = "so it is not replaced; give another folder, or remove it yourself"


def check_replaceable_run(folder: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuses a folder that holds anything but a run, an input of the training, or the working directory.

    Args:
        folder: What would be replaced, and removed.
        inputs: What is read.

    Raises:
        ConfigError: See above; it names the file.
    """
    try:
        refuse_surroundings(folder)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, not a run folder, {REMEDY}")
    files = _files(folder)
    if not files.issuperset(BEGUN) or not _is_resolved(folder / "config.yaml"):
        raise ConfigError(f"{folder}: is not a run folder, {REMEDY}")
    if strange := strange_files(folder):
        raise ConfigError(f"{folder}: also holds {strange[0]}, which is not part of a run, {REMEDY}")
    for one in inputs:
        if folder in resolved(one).parents or resolved(one) == folder:
            raise ConfigError(f"{folder}: holds {one}, which this training reads, {REMEDY}")


def strange_files(folder: Path) -> list[str]:
    """Names of the files in the folder of a run that no version of metatoken has put there."""
    others = _files(folder) - _of_artifacts(folder)
    return [name for name in sorted(others) if not FILES.fullmatch(name) and not _is_waste(name)]


def _files(folder: Path) -> set[str]:
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_symlink() or not one.is_dir()}


def _is_resolved(config: Path) -> bool:
    """Whether a configuration has every section, as those have that are saved with a run."""
    try:
        found = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False
    return isinstance(found, dict) and found.keys() >= SECTIONS


def _of_artifacts(folder: Path) -> set[str]:
    """Files of the artifacts in a run, as their manifests list them."""
    found: set[str] = set()
    for one in artifact_folders(folder):
        place = one.relative_to(folder).as_posix()
        if place.partition("/")[0] in PARTS:
            try:
                names = artifact_files(read_header(one)) | {MANIFEST}
            except ArtifactError:
                continue
            found |= {f"{place}/{name}" for name in names}
    return found


def _is_waste(name: str) -> bool:
    """Whether a file lies in the work folder of a writer that was killed."""
    return any(NAME.fullmatch(part) for part in name.split("/"))
