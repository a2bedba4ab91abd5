"""The command that installs an optional part is right for how metatoken was installed."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from typing import NamedTuple

import pytest

from metatoken import extras
from tests.files import ROOT

UVICORN = extras.Package("uvicorn", "uvicorn<1,>=0.30", None, ok=False, extra="serve")
FASTAPI = extras.Package("fastapi", "fastapi<1,>=0.115", "0.120", ok=True, extra="serve")


class Installed(NamedTuple):
    direct_url: str | None

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.direct_url


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(extras, "find_spec", lambda _name: object() if request.param == "pip" else None)
    monkeypatch.setattr(extras, "check_packages", lambda: [UVICORN, FASTAPI])
    return "python -m pip install" if request.param == "pip" else "uv pip install"


@pytest.mark.parametrize(
    ("direct_url", "wanted"),
    [
        (None, "'metatoken[serve]'"),
        ('{"dir_info": {"editable": true}, "url": "file:///metatoken"}', '"uvicorn<1,>=0.30"'),
        ('{"archive_info": {}, "url": "file:///metatoken.whl"}', '"uvicorn<1,>=0.30"'),
    ],
    ids=["index", "editable", "wheel"],
)
def test_an_index_knows_the_extra(
    monkeypatch: pytest.MonkeyPatch, installer: str, direct_url: str | None, wanted: str
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _name: Installed(direct_url))
    assert extras.install_extra("serve") == f"{installer} {wanted}"


def test_the_parts_of_a_package_are_named() -> None:
    from packaging.requirements import Requirement

    found = extras.check_package(Requirement("nowhere-to-be-found[data]>=2"), "ray")
    assert found.required == "nowhere-to-be-found[data]>=2"


def test_every_extra_of_a_message_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources = (ROOT / "python" / "metatoken").rglob("*.py")
    asked = {name for path in sources for name in re.findall(r"install_extra\([\"'](\w+)", path.read_text("utf-8"))}
    assert asked
    assert asked <= set(project["optional-dependencies"])
