"""Files that come with the package: its documentation and its example configurations."""

from __future__ import annotations

from pathlib import Path

from metatoken.errors import ArgumentError, ArtifactError, hint

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_files(folder: str, suffix: str) -> dict[str, Path]:
    """Files of one kind by their name within the folder, without suffix, e.g. `backbones/gemma`.

    Args:
        folder: `docs` or `configs`.
        suffix: How the files end, e.g. `.md`.

    Raises:
        ArtifactError: The installation has no such folder.
    """
    place = (PACKAGE / folder).resolve()  # in a checkout a symbolic link
    if not place.is_dir():
        raise ArtifactError(f"{PACKAGE / folder} is no folder; install metatoken again, from a wheel")
    found = sorted(place.rglob(f"*{suffix}"), key=lambda path: (len(path.relative_to(place).parts), path))
    return {path.relative_to(place).with_suffix("").as_posix(): path for path in found}


def read_shipped(folder: str, suffix: str, name: str, argument: str) -> str:
    """The text of one of these files.

    Raises:
        ArgumentError: There is none of that name.
    """
    files = shipped_files(folder, suffix)
    path = files.get(name.removesuffix(suffix))
    if path is None:
        raise ArgumentError(argument, f"{name!r} is none of them; {hint(name, list(files), 'try ' + ', '.join(files))}")
    return path.read_text(encoding="utf-8")
