"""Makes docs/tutorials/*.ipynb from the percent scripts beside them, without output.

    python tools/notebooks.py            # writes them
    python tools/notebooks.py --check    # exit code 1 if one is not what its script gives

A script is cut at lines that begin with `# %%`; after `# %% [markdown]` its comments are text.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
CELL = re.compile(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", flags=re.MULTILINE | re.DOTALL)


def cells(script: str) -> list[tuple[str, str]]:
    """Kind (`markdown` or `code`) and text of each cell."""
    found = []
    for words, body in CELL.findall(script):
        text = re.sub(r"^# ?", "", body, flags=re.MULTILINE) if words else body
        found.append(("markdown" if words else "code", text.strip()))
    return found


def as_notebook(script: str) -> str:
    """The notebook, in the format 4.5."""
    parts: list[dict[str, Any]] = []
    for kind, text in cells(script):
        name = hashlib.sha256(f"{len(parts)} {text}".encode()).hexdigest()[:8]
        cell = {"cell_type": kind, "id": name, "metadata": {}, "source": text.splitlines(keepends=True)}
        parts.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {
        "cells": parts,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def as_page(script: str) -> str:
    """The same as Markdown."""
    parts = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells(script)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Writes the notebooks, or compares them."""
    for script in sorted(FOLDER.glob("*.py")):
        made, place = as_notebook(script.read_text(encoding="utf-8")), script.with_suffix(".ipynb")
        if "--check" not in sys.argv[1:]:
            place.write_text(made, encoding="utf-8")
        elif not place.is_file() or place.read_text(encoding="utf-8") != made:
            sys.exit(f"{place.name} is not what {script.name} gives: make notebooks")


if __name__ == "__main__":
    main()
