"""Files stay under 300 lines and functions under 40, so that each can be read at once; what is longer is named here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.files import ROOT

FILE, FUNCTION = 300, 40  # lines; longer is too long

# Kernels, measured as they stand: a cut through them would cost time or hide the order of their loads.
KERNELS = {
    "rust/cluster/amx.rs:search",
    "rust/softmax/chunk.rs:weigh",
    "rust/trie/search.rs:choices",
}

# Commands whose signature is long (their options), and borders that take an argument each.
UNCUT = {
    "python/metatoken/cli/inspect.py:inspect",
    "python/metatoken/cli/text_vectors.py:text_vectors",
    "rust/python/run.rs:run",
    "rust/python/skipgram.rs:fit",
}

SOURCES = sorted(
    path
    for folder, ends in (("python/metatoken", {".py", ".pyi"}), ("rust", {".rs"}))
    for path in (ROOT / folder).rglob("*")
    if path.suffix in ends
)

# What may hold a brace or the word `fn` without being code; a lifetime is no character.
NO_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\[^']+|[^'\\\n])'""", flags=re.DOTALL)
OPEN, CLOSE = "([{", ")]}"


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, from `def` to its last statement, docstrings aside."""

    def visit(node: ast.AST, outer: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from visit(child, outer)
                continue
            label = f"{outer}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield label, _lines(child) - sum(_docstring(inner) for inner in ast.walk(child))
            yield from visit(child, f"{label}.")

    yield from visit(ast.parse(source), "")


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Expr) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def _docstring(node: ast.AST) -> int:
    documented = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node)
    return _lines(node.body[0]) if documented else 0  # type: ignore[attr-defined]


def rust_code(source: str) -> str:
    """The source line by line, without comments, strings and modules of tests."""
    code = NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)
    for test in reversed(list(re.finditer(r"#\[cfg\(test\)\]\s*mod \w+ \{", code))):
        end = _closing(code, test.end() - 1)
        code = code[: test.start()] + code[end:]
    return code


def rust_functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, from `fn` to its closing brace."""
    code = rust_code(source)
    for found in re.finditer(r"\bfn\s+(\$?\w+)", code):
        at = found.end()
        while code[at] not in "{;":  # a semicolon inside of brackets is the length of an array
            at = _closing(code, at) if code[at] in OPEN else at + 1
        if code[at] == "{":
            yield found[1], code.count("\n", found.start(), _closing(code, at)) + 1


def _closing(code: str, at: int) -> int:
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(code)):
        depth += (code[place] in OPEN) - (code[place] in CLOSE)
        if depth == 0:
            return place + 1
    raise AssertionError(code[at : at + 80])


def functions(path: Path) -> dict[str, int]:
    """Lines of each function by `file:name`; the longest where a name comes twice."""
    source = path.read_text(encoding="utf-8")
    found: dict[str, int] = {}
    for label, lines in (rust_functions if path.suffix == ".rs" else python_functions)(source):
        key = f"{name(path)}:{label}"
        found[key] = max(lines, found.get(key, 0))
    return found


def file_lines(path: Path) -> int:
    source = path.read_text(encoding="utf-8")
    return len((rust_code(source) if path.suffix == ".rs" else source).splitlines())


def test_functions_are_measured() -> None:
    python = (
        'class A:\n    @x\n    def f(\n        self,\n    ):\n        """One.\n\n        Two."""\n        return 1\n'
    )
    assert list(python_functions(python)) == [("A.f", 4)]
    rust = "fn a(x: [u8; 2]) -> &'a str {\n    // }\n    '{'; \"}\"\n}\nfn b();\n"
    tests = "#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n"
    assert list(rust_functions(rust + tests)) == [("a", 4)]


def test_files_and_functions_are_short() -> None:
    long = {name(path): n for path in SOURCES if (n := file_lines(path)) > FILE}
    long |= {key: n for path in SOURCES for key, n in functions(path).items() if n > FUNCTION}
    new = sorted(f"{key}: {n} lines" for key, n in long.items() if key not in UNCUT | KERNELS)
    assert not new, "\n".join([f"a file has at most {FILE} lines, a function {FUNCTION}:", *new])
    gone = sorted((UNCUT | KERNELS) - set(long))
    assert not gone, f"short by now, so take it out of the list: {gone}"
