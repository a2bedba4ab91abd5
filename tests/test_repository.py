"""What the repository promises about itself: no machine's paths, no pickle, pins that fit."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import LONG, pytest_collection_modifyitems
from tests.files import ROOT

FOLDERS = ("python", "rust", "tests", "configs", "docs", "benches", "benchmarks", "tools", ".ci", ".github")
BINARY = {".so", ".pyd", ".pyc", ".png", ".parquet", ".safetensors", ".npy", ".gz"}


def text_files() -> list[Path]:
    """Every text file of the repository, whether or not this is a git checkout."""
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    files = [path for path in (*ROOT.glob("*"), *inside) if path.is_file() and path.name != ".git"]
    return sorted(path for path in files if path.suffix not in BINARY and "__pycache__" not in path.parts)


def find_lines(pattern: str, files: list[Path]) -> list[str]:
    """`file:line: text` of every line that matches."""
    found = []
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_no_file_names_a_path_of_one_machine() -> None:
    folders = "work|tmp|root|home|Users|opt"
    assert not find_lines(rf"(?<![\w.~*}}])/({folders})/", text_files())


def test_addresses_are_documents_not_registries() -> None:
    documents = (
        "arxiv.org",
        "keepachangelog.com",
        "semver.org",
        "rustup.rs",
        "www.apache.org",
        "doi.org",
        "github.com",
        "www.w3.org",  # the name of SVG
        "metatoken.example",  # stands for the address of the project, in pyproject.toml alone
        "127.0.0.1",  # the reader's own machine
    )
    hosts = "|".join(re.escape(host) for host in documents)
    files = [path for path in text_files() if path.name != "Cargo.lock"]  # cargo writes its index into every entry
    assert not find_lines(rf"https?://(?!({hosts})\b)", files)


def python_files() -> list[Path]:
    return [path for path in text_files() if path.suffix == ".py" and path.parts[len(ROOT.parts)] != "tests"]


PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def unsafe_serialisation(source: str) -> list[int]:
    """Lines that pickle or unpickle, or let another library do so."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {(node.module or "").split(".")[0]}
        else:
            modules = set()
        if modules & PICKLES:
            lines.append(node.lineno)  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            loads_torch = ast.unparse(node.func) == "torch.load" and keywords.get("weights_only") != "True"
            if loads_torch or keywords.get("allow_pickle", "False") != "False":
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "line", ["import pickle", "from joblib import dump", "torch.load(p)", "np.load(p, allow_pickle=True)"]
)
def test_pickle_is_recognised(line: str) -> None:
    assert unsafe_serialisation(f"x = 1\n{line}\n") == [2]
    assert not unsafe_serialisation("torch.load(p, weights_only=True)\nnp.load(p, allow_pickle=False)\n")


def test_nothing_is_pickled() -> None:
    found = {
        str(path.relative_to(ROOT)): unsafe_serialisation(path.read_text(encoding="utf-8")) for path in python_files()
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


YAML_FILES = [path for path in text_files() if path.suffix in {".yaml", ".yml"}]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_yaml_parses(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict | list)


def test_every_requirement_has_a_pin_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    wanted = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"constraints.txt has no version of {requirement.name}"
        assert requirement.specifier.contains(pin), f"{requirement} excludes the pinned {pin}"
    assert not [version for version in pins.values() if "+" in version], "a local build cannot be installed elsewhere"


def test_unsafe_code_stays_in_the_kernels() -> None:
    """`clippy::undocumented_unsafe_blocks` sees to the reason of each block there."""
    kernels = {
        *(
            f"rust/cluster/{name}.rs"
            for name in ("amx", "doubtful", "judge", "kernel", "lap", "pack", "potential", "sweep", "transport")
        ),
        *(f"rust/simd/{name}.rs" for name in ("lanes", "lanes_arm", "lanes_x86", "mod", "tiles")),
        *(f"rust/skipgram/{name}.rs" for name in ("loss", "shared", "step", "strip")),
        "rust/codes/assign.rs",
        "rust/pages.rs",  # asks the system for large pages
        *(f"rust/softmax/{name}.rs" for name in ("chunk", "kernel", "tiled")),
        "rust/trie/sums.rs",
        "rust/python/trie.rs",  # arrays over numbers that the core owns
    }
    files = [
        path for path in text_files() if path.suffix == ".rs" and re.search(r"\bunsafe\b", path.read_text("utf-8"))
    ]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= kernels


class Item:
    """What the order of tests depends on."""

    def __init__(self, name: str, number: int) -> None:
        self.path, self.number = ROOT / "tests" / name, number


def test_long_files_are_there_and_first() -> None:
    assert [name for name in LONG if not (ROOT / "tests" / name).is_file()] == []
    items = [Item("a.py", 0), Item("b.py", 0), Item("b.py", 1), Item(LONG[1], 0), Item(LONG[0], 0)]
    pytest_collection_modifyitems(items)  # type: ignore[arg-type]
    place = ROOT / "tests"
    assert [(item.path.relative_to(place).as_posix(), item.number) for item in items] == [
        (LONG[0], 0), (LONG[1], 0), ("b.py", 0), ("b.py", 1), ("a.py", 0),
    ]  # fmt: skip


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == version
    assert (
        cited["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    )
