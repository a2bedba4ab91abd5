"""Imports flow one way, from data, tokens and tasks to run, recommend and cli: see LAYERS."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.files import ROOT

PACKAGE = ROOT / "python" / "metatoken"

# Left to right; the longest prefix that fits a module gives its layer, and a module may import its own layer and any
# to the left.
LAYERS = (
    "_core",
    "errors",
    "extras",
    "config",
    "bounds",
    "artifacts",
    "engine",
    "data",
    "tokens",
    "tasks",
    "model",
    "decode",
    "predict",
    "baselines",
    "evaluate",
    "run",
    "recommend",
    "serve",
    "report",
    "cli",
    "__main__",
)
TORCH = ("torch", "lightning", "transformers", "peft")
TORCH_USERS = (
    "tasks",
    "model",
    "decode",
    "predict",
    "baselines",
    "evaluate",
    "run",
    "recommend",
    "cli",
)
CORE_USERS = ("tokens", "model.heads.softmax_native", "model.heads.top", "predict.transitions", "cli.doctor")


class Import(NamedTuple):
    module: str  # who imports, without `metatoken.`
    target: str  # what, as an absolute dotted name
    line: int
    lazy: bool  # inside a function
    typing_only: bool  # under `if TYPE_CHECKING:`


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def layer(module: str) -> int:
    fitting = [prefix for prefix in LAYERS if within(module, (prefix,))]
    assert fitting, f"metatoken.{module} has no layer: give it one in LAYERS"
    return LAYERS.index(max(fitting, key=len))


def find_imports(source: str, module: str) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool, typing_only: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(module, alias.name, node.lineno, lazy, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative imports hide the layer"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.extend(Import(module, name, node.lineno, lazy, typing_only) for name in names)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        guarded = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for child in ast.iter_child_nodes(node):
            visit(child, lazy, typing_only or guarded)

    visit(ast.parse(source), lazy=False, typing_only=False)
    return found


def package_imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found += find_imports(path.read_text(encoding="utf-8"), module)
    return found


IMPORTS = package_imports()


def explain(wrong: list[Import]) -> str:
    return "\n".join(f"metatoken.{i.module}, line {i.line}: imports {i.target}" for i in wrong)


def test_the_parser_finds_every_kind_of_import() -> None:
    source = (
        "import torch.nn as nn\nif TYPE_CHECKING:\n    import numpy\ndef f():\n    from metatoken.data import split\n"
    )
    assert find_imports(source, "tokens.x") == [
        Import("tokens.x", "torch.nn", 1, lazy=False, typing_only=False),
        Import("tokens.x", "numpy", 3, lazy=False, typing_only=True),
        Import("tokens.x", "metatoken.data.split", 5, lazy=True, typing_only=False),
    ]
    assert any(i.module.startswith("cli.") for i in IMPORTS)


def test_nothing_imports_to_its_right() -> None:
    ours = [i for i in IMPORTS if i.target.startswith("metatoken.") and i.module]
    wrong = [i for i in ours if layer(i.target.removeprefix("metatoken.")) > layer(i.module)]
    assert not wrong, explain(wrong)


def test_only_layers_that_compute_with_torch_import_it() -> None:
    heavy = [i for i in IMPORTS if within(i.target, TORCH) and not i.typing_only]
    wrong = [i for i in heavy if not within(i.module, TORCH_USERS)]
    assert not wrong, explain(wrong)


def test_only_few_import_the_native_core() -> None:
    wrong = [i for i in IMPORTS if within(i.target, ("metatoken._core",)) and not within(i.module, CORE_USERS)]
    assert not wrong, explain(wrong)


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    light = (
        "metatoken.cli",
        "metatoken.errors",
        "metatoken.extras",
        "metatoken.config",
        "metatoken.engine.settings",
        "metatoken.data.settings",
        "metatoken.tokens.settings",
        "typer",
    )
    for i in IMPORTS:
        if i.module.startswith("cli") and not i.lazy and not i.typing_only:
            root = i.target.split(".")[0]
            assert within(i.target, light) or root in sys.stdlib_module_names, explain([i])


CORE = [path for path in sorted((ROOT / "rust").rglob("*.rs")) if ROOT / "rust" / "python" not in path.parents]


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_border_knows_pyo3(path: Path) -> None:
    code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    assert "pyo3" not in code
    assert "numpy" not in code
