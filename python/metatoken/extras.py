"""What metatoken requires, what of it is installed, and the command that installs what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from metatoken.errors import MetatokenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.requirements import Requirement


@dataclass(frozen=True)
class Package:
    """One requirement of metatoken, met or not.

    Attributes:
        name: Name of the distribution.
        required: The requirement as pip reads it, e.g. `numpy<3,>=2`.
        installed: Version found, `None` if there is none.
        ok: Whether the version found satisfies the requirement.
        extra: Name of the optional part that asks for it, `None` if metatoken always needs it.
    """

    name: str
    required: str
    installed: str | None
    ok: bool
    extra: str | None


def check_package(requirement: Requirement, extra: str | None) -> Package:
    """Compares one requirement with what is installed."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        found = None
    ok = found is not None and requirement.specifier.contains(found, prereleases=True)
    parts = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return Package(requirement.name, f"{requirement.name}{parts}{requirement.specifier}", found, ok, extra)


def check_packages() -> list[Package]:
    """Every requirement that metatoken declares, extras included, in the order of its metadata."""
    from packaging.requirements import Requirement

    extras = metadata.metadata("metatoken").get_all("Provides-Extra") or []
    packages = []
    for text in metadata.requires("metatoken") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            packages.append(check_package(requirement, None))
        else:
            packages += [check_package(requirement, extra) for extra in extras if marker.evaluate({"extra": extra})]
    return packages


def install_command(packages: list[Package]) -> str:
    """The one command that brings these packages to versions that fit."""
    return " ".join([_installer(), *(f'"{p.required}"' for p in packages)])


def install_extra(extra: str) -> str:
    """The command that adds an optional part to this installation of metatoken.

    Only an installation from a package index can name the extra: a checkout or a wheel file would be looked up in the
    index, where there may be another version or none. Those are told the packages that are missing.

    Args:
        extra: Name of the optional part, such as `serve`.
    """
    missing = [package for package in check_packages() if package.extra == extra and not package.ok]
    from_index = metadata.distribution("metatoken").read_text("direct_url.json") is None
    if from_index or not missing:
        return f"{_installer()} 'metatoken[{extra}]'"
    return install_command(missing)


def check_extra(what: str, extra: str, modules: Sequence[str]) -> None:
    """Refuses what needs an optional part that is not there: `MetatokenError`, with the command that installs it.

    Args:
        what: What needs it, e.g. `serving`.
        extra: Name of the part.
        modules: What must be there to import.
    """
    if absent := [name for name in modules if find_spec(name) is None]:
        raise MetatokenError(f"{what} needs {' and '.join(absent)}: {install_extra(extra)}")


def _installer() -> str:
    """What installs into this environment, which has no pip where uv made it."""
    return "python -m pip install" if find_spec("pip") else "uv pip install"
