"""Prints the requirements of an optional part, for environments that need nothing else of the project.

python tools/extra.py docs
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
print(*PROJECT["optional-dependencies"][sys.argv[1]])
