"""The tutorials run, and their notebooks are what their scripts give."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.files import ROOT

SCRIPTS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
NOTEBOOKS = ROOT / "tools" / "notebooks.py"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_runs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")


def test_notebooks_are_up_to_date() -> None:
    subprocess.run([sys.executable, NOTEBOOKS, "--check"], check=True)
    assert [path.stem for path in sorted(SCRIPTS[0].parent.glob("*.ipynb"))] == [path.stem for path in SCRIPTS]


def test_a_notebook_has_the_cells_of_its_script() -> None:
    made = runpy.run_path(str(NOTEBOOKS))["as_notebook"]("# %% [markdown]\n# # Title\n#\n# words\n\n# %%\nx = 1\n\ny\n")
    notebook = json.loads(made)
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]] == [
        ("markdown", "# Title\n\nwords"),
        ("code", "x = 1\n\ny"),
    ]
    assert notebook["nbformat"] == 4
    assert notebook["cells"][1]["outputs"] == []
