"""Where an extended run comes from: `lineage.json`, one entry for each version, the trained run first.

{"schema": 1, "versions": [{"users": 1000, "items": 800, "tokens": 128, "interactions": 24000,
                            "run": "run", "manifest": "...", "vocabulary": "...", "model": "...",
                            "log": null, "found": {}, "training": null},
                           {"users": 1010, "items": 805, ..., "log": {...}, "found": {...}, "training": null}]}

The last entry is the run itself, the one before it its parent. Rows are only ever appended, so the users, items and
tokens of a version are the first so many of every later one. Checksums are those of manifests, as SHA-256; the run
itself has none, since its own manifest has that of its lineage. A run that was never extended has no such file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from metatoken.artifacts import MANIFEST, atomic_file, read_json, sha256, write_json
from metatoken.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from metatoken.run.folder import RunFolder

SCHEMA = 1


@dataclass(frozen=True)
class Version:
    """A run as it was at one time.

    Attributes:
        users: Number of user rows.
        items: Number of item rows.
        tokens: Number of tokens.
        interactions: Rows of the log.
        run: Its folder, as it was given; None for the run itself, like the three below.
        manifest: Checksum of the manifest of the run; None, too, for a run of before there was one.
        vocabulary: Checksum of the manifest of its vocabulary.
        model: Checksum of the manifest of its model.
        log: What was appended to the version before: `source`, `rows`, `interactions`, `checksum`, `items`; None for
            the trained run.
        found: What became of new ids, see `Vocabulary.extend`.
        training: Of an extension that was trained on: `epochs`, `replay`, `since`; None without training.
    """

    users: int
    items: int
    tokens: int
    interactions: int
    run: str | None = None
    manifest: str | None = None
    vocabulary: str | None = None
    model: str | None = None
    log: dict[str, Any] | None = None
    found: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None


@dataclass(frozen=True)
class Lineage:
    """The versions of a run, oldest first; the last is the run itself."""

    versions: tuple[Version, ...]

    @property
    def parent(self) -> Version | None:
        """The version before the last."""
        return self.versions[-2] if len(self.versions) > 1 else None

    @classmethod
    def of(cls, folder: RunFolder, now: Version) -> Lineage:
        """That of a run, whose own entry is `now` where it has no lineage yet, with its checksums."""
        known = cls.load(folder.lineage).versions if folder.lineage.exists() else (now,)
        sums: dict[str, Any] = {
            "manifest": _sum(folder.path / MANIFEST),
            "vocabulary": _sum(folder.vocabulary / MANIFEST),
            "model": _sum(folder.model / MANIFEST),
        }
        return cls((*known[:-1], replace(known[-1], run=str(folder.path), **sums)))

    def followed(self, version: Version) -> Lineage:
        """The same with one version more."""
        return Lineage((*self.versions, version))

    def save(self, path: Path) -> None:
        """Writes a JSON file."""
        with atomic_file(path) as work:
            write_json(work, {"schema": SCHEMA, "versions": [asdict(one) for one in self.versions]})

    @classmethod
    def load(cls, path: Path) -> Lineage:
        """Reads a JSON file.

        Raises:
            ArtifactError: It is missing, of a newer schema, or not what `save` writes.
        """
        content: Any = read_json(path)
        try:
            if content["schema"] > SCHEMA:
                raise ArtifactError(f"{path}: was written by a newer metatoken; upgrade metatoken")
            versions = tuple(Version(**one) for one in content["versions"])
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: is not the lineage of a run; extend its parent again") from error
        if not versions:
            raise ArtifactError(f"{path}: is not the lineage of a run; extend its parent again")
        return cls(versions)


def _sum(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None
