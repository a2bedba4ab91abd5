"""Follows the configuration of a run through the code, and counts the doors that it goes through.

    python tests/walk_config.py [CHECKOUT]

Starts in `train_run` with `config` in hand and looks at every call of the package that hands on the configuration, one
of its sections, a key of one, or a local name for any of them, in the order in which the code is written. It goes on
inside a function that is given the whole configuration; one that is given a part of it owns that part, and is left
again. A *stop* is every function of another file that is entered so; a *climb* is every return from there to a file
further right in the order of the layers. The code is read, not run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LAYERS = ("errors", "config", "artifacts", "data", "tokens", "tasks", "model", "decode", "predict", "evaluate", "run")


@dataclass
class Walk:
    """A walk through one checkout.

    Attributes:
        package: Its folder `python/metatoken`.
        stops: Functions entered, `file:function`.
        climbs: Returns up the layers.
    """

    package: Path
    stops: list[str] = field(default_factory=list)
    climbs: int = 0
    at: str = ""
    done: set[tuple[str, str, frozenset[str]]] = field(default_factory=set)

    def function(self, module: str, name: str) -> tuple[str, ast.FunctionDef] | None:
        """The module and definition of a function, class or `Class.method`, through names that a module hands on."""
        path = self.package.joinpath(*module.split("."))
        file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if not file.is_file():
            return None
        tree = ast.parse(file.read_text(encoding="utf-8"))
        owner, _, method = name.partition(".")
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return module, node
            if isinstance(node, ast.ClassDef) and node.name == owner:
                wanted = method or "__init__"
                found = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == wanted]
                return (module, found[0]) if found else None
        source = imports(tree).get(owner)
        return None if source is None else self.function(source[0], ".".join([source[1], *name.split(".")[1:]]))

    def enter(self, module: str, node: ast.FunctionDef, carried: frozenset[str], label: str) -> None:
        """Walks through a function whose parameters `carried` hold the whole configuration."""
        if self.at != module:
            self.stops.append(f"{module}:{label}")
            self.at = module
        if (module, label, carried) in self.done:
            return
        self.done.add((module, label, carried))
        file = self.package.joinpath(*module.split(".")).with_suffix(".py")
        known = imports(ast.parse(file.read_text(encoding="utf-8"))) | imports(node)
        names = set(carried)
        for call in ordered(node):
            if isinstance(call, ast.Assign) and holds(call.value, names):
                names |= {n.id for target in call.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
            if isinstance(call, ast.Call) and any(holds(part, names) for part in [*call.args, *keywords(call)]):
                self.call(module, call, known)

    def call(self, module: str, call: ast.Call, known: dict[str, tuple[str, str]]) -> None:
        """Follows one call, if it is of this package, and comes back."""
        name = ast.unparse(call.func)
        owner, _, rest = name.partition(".")
        where, what = known.get(owner, (module, owner))
        target = self.function(where, f"{what}.{rest}" if rest else what)
        if target is None:
            return
        parameters = [a.arg for a in (*target[1].args.posonlyargs, *target[1].args.args, *target[1].args.kwonlyargs)]
        places = [p for p in parameters if p not in ("self", "cls")]
        whole = {places[n] for n, part in enumerate(call.args) if n < len(places) and is_whole(part)}
        whole |= {k.arg for k in call.keywords if k.arg in places and is_whole(k.value)}
        if whole:
            self.enter(target[0], target[1], frozenset(whole), name)
        elif target[0] != self.at:
            self.stops.append(f"{target[0]}:{name}")
            self.at = target[0]
        if self.at != module:
            self.climbs += rank(module) > rank(self.at)
            self.at = module


def rank(module: str) -> int:
    """Place of a module in the order of the layers; what stood at the top level belonged to a run."""
    first = module.split(".", maxsplit=1)[0]
    return LAYERS.index(first) if first in LAYERS else len(LAYERS)


def imports(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Names that come from this package: name -> (module, name there)."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("metatoken"):
            inside = (node.module or "").removeprefix("metatoken").removeprefix(".")
            found |= {alias.asname or alias.name: (inside, alias.name) for alias in node.names}
    return found


def keywords(call: ast.Call) -> list[ast.expr]:
    """Values of named arguments."""
    return [keyword.value for keyword in call.keywords]


def is_whole(node: ast.expr) -> bool:
    """Whether an expression is the configuration itself; every function calls it so."""
    return isinstance(node, ast.Name) and node.id == "config"


def holds(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression is one of the names, an attribute of one, or made of nothing but such."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute | ast.Starred):
        return holds(node.value, names)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "replace":  # a copy with another seed is still a part
            return holds(node.args[0], names)
        return holds(node.func, names) if isinstance(node.func, ast.Attribute) else False
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.IfExp | ast.Tuple | ast.Dict):
        return any(holds(part, names) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
    return False


def ordered(node: ast.AST) -> Iterator[ast.AST]:
    """Assignments and calls of a function in the order of the text, a value before its name."""
    nodes = [n for n in ast.walk(node) if isinstance(n, ast.Call | ast.Assign)]
    yield from sorted(nodes, key=lambda n: (n.end_lineno or 0, n.end_col_offset or 0, isinstance(n, ast.Assign)))


def walk(checkout: Path) -> Walk:
    """Follows `config` from `train_run`."""
    found = Walk(checkout / "python" / "metatoken")
    for module in ("run", "run.train"):
        start = found.function(module, "train_run")
        if start is not None:
            found.at = start[0]
            found.enter(start[0], start[1], frozenset({"config"}), "train_run")
            return found
    raise SystemExit(f"{checkout}: no train_run")


if __name__ == "__main__":
    result = walk(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
    print("\n".join(result.stops))
    print(f"{len(result.stops)} stops, {result.climbs} climbs")
