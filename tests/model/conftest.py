from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.architectures import ARCHITECTURES, write_backbone


@pytest.fixture(scope="session")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the tiny models by family; to be read only."""
    root = tmp_path_factory.mktemp("backbones")
    return {name: write_backbone(name, root / name) for name in ARCHITECTURES}


# Not of the session: pytest groups tests by a parameter of the session, across files, and would make the module
# fixtures of each file again for each family.
@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(architecture: str, backbones: dict[str, Path]) -> Path:
    """The tiny model of each family in turn."""
    return backbones[architecture]
