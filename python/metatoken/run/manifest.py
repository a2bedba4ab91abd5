"""The manifest of a run, written last: it ties the parts together, each of which is whole by itself.

run/manifest.json  checksums of config.yaml, fusion.json, history.parquet, source.json, training.json,
                   lineage.json, rebuilt.json, mapping.parquet, and of the manifests of vocabulary/, items/ and
                   model/, and those of partners/, which have those of their files; of the weights of frozen backbones,
                   which the run does not hold; `state`: begun or finished

A run that is trained further has the state `begun` until it is finished again, so that new weights of the fusion are
never read with an old model. Runs of older versions have none.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metatoken.artifacts import MANIFEST, atomic_file, read_manifest, sha256, write_manifest
from metatoken.artifacts.manifest import read_header
from metatoken.errors import ArtifactError, MetatokenWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from metatoken.model.model import MetaTokenModel
    from metatoken.run.config import Config
    from metatoken.run.folder import RunFolder

KIND, SCHEMA = "run", 1
BEGUN = (
    "history.parquet",
    "vocabulary/manifest.json",
    "items/manifest.json",
    "source.json",
)  # do not change while it is trained
NEEDED = (*BEGUN[:2], "config.yaml", "fusion.json", "model/manifest.json")  # of a finished run
PARTS = (*NEEDED, *BEGUN[2:], "training.json", "lineage.json", "rebuilt.json", "mapping.parquet")
DIGITS, FEW = 12, 5  # of a version; names of files that a warning has
ALTERED = "altered or damaged since it was saved; train again with --overwrite"
State = Literal["begun", "finished"]


def seal(folder: RunFolder, state: State, backbone: str | None, partners: Sequence[str | None] = ()) -> None:
    """Writes the manifest over what is there; the same bytes for the same content.

    Args:
        folder: The run.
        state: Whether it can be used.
        backbone: Checksum of the weights of a frozen backbone, see `backbone_checksum`.
        partners: The same of each partner.
    """
    path = folder.path
    names = [name for name in (parts_of(path) if state == "finished" else BEGUN) if (path / name).is_file()]
    more = {"partners": list(partners)} if partners else {}
    with atomic_file(path / MANIFEST) as work:
        write_manifest(path, KIND, SCHEMA, names, work, state=state, backbone=backbone, **more)


def parts_of(path: Path) -> list[str]:
    """Names of what the manifest of a finished run ties together, those of partners as they are there."""
    more = sorted(path.glob(f"partners/*/*/{MANIFEST}"))
    return [*PARTS, *(one.relative_to(path).as_posix() for one in more)]


def partner_folders(path: Path, manifest: dict[str, Any] | None) -> list[tuple[Path, str | None]]:
    """Folders of the partners of an ensemble, in their order, each with the checksum of its frozen backbone.

    Raises:
        ArtifactError: One is missing.
    """
    found = _partners(manifest)
    folders = [path / "partners" / str(number) for number in range(len(found))]
    for folder in folders:
        names = [(folder / part / MANIFEST).relative_to(path).as_posix() for part in ("model", "vocabulary")]
        if manifest is not None and not manifest["files"].keys() >= set(names):
            raise ArtifactError(f"{folder}: {ALTERED}")
    return list(zip(folders, found, strict=True))


def n_partners(folder: RunFolder) -> int:
    """How many further models an ensemble has, as its manifest says; 0 for any other run. No file is checked."""
    return len(_partners(_header(folder)))


def _partners(manifest: dict[str, Any] | None) -> list[str | None]:
    return [] if manifest is None else list(manifest.get("partners", []))


def check_run(folder: RunFolder) -> dict[str, Any] | None:
    """Checks, at the cost of reading the log once, that the parts of a finished run belong together.

    Returns:
        The manifest; None for a run of before there was one.

    Warns:
        MetatokenWarning: There is none.

    Raises:
        ArtifactError: A part is missing, altered, or was added.
    """
    if not (folder.path / MANIFEST).exists():
        said = "has no manifest, as older versions left it, so nothing says that its parts belong together"
        warnings.warn(f"{folder.path}: {said}", MetatokenWarning, stacklevel=3)
        return None
    manifest = read_manifest(folder.path, KIND, SCHEMA, NEEDED)
    if added := [
        name for name in parts_of(folder.path) if name not in manifest["files"] and (folder.path / name).is_file()
    ]:
        said = "is of another run: the manifest of this one, which is written last, does not name it"
        raise ArtifactError(f"{folder.path / added[0]}: {said}; remove it")
    return manifest


def version_of(folder: RunFolder) -> str:
    """A short name for what a run holds, the same for the same content: 12 hexadecimal digits.

    Raises:
        ArtifactError: There is no run.
    """
    # Of a run of before there were manifests, the model alone.
    known = [path for path in (folder.path / MANIFEST, folder.model / MANIFEST) if path.is_file()]
    if not known:
        raise ArtifactError(f"{folder.path}: {folder.no_run()}")
    return sha256(known[0])[:DIGITS]


def is_begun(folder: RunFolder) -> bool:
    """Whether a manifest says that the run is being trained, or was when it was interrupted."""
    found = _header(folder)
    return found is not None and found.get("state") == "begun"


def _header(folder: RunFolder) -> dict[str, Any] | None:
    """The manifest of a run, nothing but its form checked; None where there is none, as older versions left it."""
    if not (folder.path / MANIFEST).exists():
        return None
    found = read_header(folder.path)
    return found if found["kind"] == KIND else None


def check_begun(folder: RunFolder) -> None:
    """Checks what a run had before it was trained; nothing for a run of before there were manifests.

    Raises:
        ArtifactError: A part is missing or altered.
    """
    if (folder.path / MANIFEST).exists():
        read_manifest(folder.path, KIND, SCHEMA, BEGUN[:2])


def check_backbone(module: MetaTokenModel, manifest: dict[str, Any] | None, folder: Path) -> None:
    """Compares the weights of a frozen backbone with those that a run was trained on.

    Raises:
        ArtifactError: They are others.
    """
    expected = None if manifest is None else manifest.get("backbone")
    if expected is not None and backbone_checksum(module) != expected:
        said = f"the backbone {module.settings.backbone} has other weights than those that the run was trained on"
        raise ArtifactError(f"{folder}: {said}; put those back, or train again")


def check_bytes(folder: RunFolder) -> list[str]:
    """Reads every file of a run and compares it with its checksum; names of what was checked.

    Warns:
        MetatokenWarning: The folder also holds files that no version writes.

    Raises:
        ArtifactError: Something is missing or altered, or the run is not finished.
    """
    from metatoken.artifacts.manifest import artifact_folders
    from metatoken.run.contents import strange_files
    from metatoken.run.evaluation import read_metrics

    folder.check_finished()
    manifest = check_run(folder)
    found = [] if manifest is None else [*manifest["files"]]
    if folder.metrics.exists():
        found += [folder.metrics.name, *read_metrics(folder).get("files", ())]
    for one in artifact_folders(folder.path):
        header = read_header(one)
        read_manifest(one, header["kind"], header["schema"])
        found += [(one / name).relative_to(folder.path).as_posix() for name in header["files"]]
    owner = cache(lambda: identity(folder, folder.load_config()))
    for path in sorted(folder.checkpoint.parent.glob("*.ckpt")):
        if path.is_file():
            check_checkpoint(path, owner)
            found.append(path.relative_to(folder.path).as_posix())
    if strange := strange_files(folder.path):
        said = f"also holds {', '.join(strange[:FEW])}{' and more' if len(strange) > FEW else ''}"
        warnings.warn(f"{folder.path}: {said}, which is no part of a run", MetatokenWarning, stacklevel=2)
    return sorted(set(found))


def check_checkpoint(path: Path, owner: Callable[[], str]) -> None:
    """Reads a checkpoint, whose parts have checksums of their own.

    Args:
        path: The file.
        owner: Gives what it must belong to, where it says it; see `identity`.

    Raises:
        ArtifactError: It is damaged, or of another run.
    """
    from metatoken.model.store.checkpoints import owner_of

    try:
        with zipfile.ZipFile(path) as parts:
            broken = parts.testzip()
        found = None if broken else owner_of(path)
    except Exception as error:  # zipfile and torch have many words for what is none of ours
        raise ArtifactError(f"{path}: {ALTERED}") from error
    if broken:
        raise ArtifactError(f"{path}: {ALTERED}")
    if found is not None and found != owner():
        raise ArtifactError(f"{path}: is of another run, with another log, other tokens or another seed")


def identity(folder: RunFolder, config: Config) -> str:
    """What a checkpoint belongs to: the log, the tokens and the seed, whatever the number of epochs.

    Not the settings of the model, which a later version may have more of; they are compared by themselves.
    """
    parts = [sha256(folder.history), sha256(folder.vocabulary / MANIFEST), config.seed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def backbone_checksum(module: MetaTokenModel) -> str | None:
    """Checksum of the weights that are neither trained nor saved with a model; None where there are none."""
    import torch

    if module.settings.tuned == "full":
        return None
    digest = hashlib.sha256()
    for name, parameter in sorted(module.network.named_parameters()):
        if name.startswith("backbone.") and "lora_" not in name:
            values = parameter.detach().to("cpu").contiguous().view(-1).view(torch.uint8)
            digest.update(values.numpy().data)
    return digest.hexdigest()
