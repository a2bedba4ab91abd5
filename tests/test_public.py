from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import pytest

import metatoken
from tests.files import ROOT


def test_every_public_name_loads() -> None:
    assert list(metatoken.__all__) == sorted(metatoken._PLACES)
    assert set(metatoken.__all__) <= set(dir(metatoken))
    for name, home in metatoken._PLACES.items():
        assert getattr(metatoken, name) is getattr(import_module(home), name)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "python/metatoken/__init__.py").read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [part for node in guarded for part in node.body if isinstance(part, ast.ImportFrom)]
    assert {alias.name: part.module for part in imports for alias in part.names} == metatoken._PLACES


def test_import_is_light() -> None:
    code = "import sys, metatoken; print({'torch', 'polars', 'numpy'} & set(sys.modules) or 'light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "light\n"


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = metatoken.Nothing
