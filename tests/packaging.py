"""What tests/packaging.sh asks of a wheel, of a source distribution, and of an environment with one of them.

    python tests/packaging.py WHEEL SOURCE        # contents
    python tests/packaging.py --extras            # names of the extras
    python tests/packaging.py --installed EXTRA   # in the environment that it runs in; "" for none

Standard library only: it runs in environments that have nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEVELOPERS = {"bench", "dev", "docs", "packaging"}  # tools for a checkout
SHIPPED = {"docs": "*.md", "configs": "*.yaml"}


def check(said: str, found: object) -> None:
    """Stops with a sentence where something is not so."""
    if not found:
        sys.exit(f"packaging: {said}")


def contents(wheel: Path, source: Path) -> None:
    """The wheel has the package with its pages and examples, licences and nothing else; the source can build it."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in names if name.startswith("metatoken/")}
    info = {name.partition("/")[2] for name in names - package}
    for folder, pattern in SHIPPED.items():
        for path in (ROOT / folder).rglob(pattern):
            shown = f"metatoken/{path.relative_to(ROOT).as_posix()}"
            check(f"{wheel.name} lacks {shown}", shown in package)
    for path in (ROOT / "python" / "metatoken").rglob("*.py*"):
        name = path.relative_to(ROOT / "python").as_posix()
        check(f"{wheel.name} lacks {name}", name in package or path.suffix == ".pyc")
    check("no notebook in the wheel", any(name.endswith(".ipynb") for name in package))
    check("no native core in the wheel", {"metatoken/_core.abi3.so", "metatoken/_core.pyd"} & package)
    for name in ("licenses/LICENSE", "licenses/THIRD_PARTY_LICENSES.txt", "entry_points.txt"):
        check(f"{wheel.name} lacks {name}", name in info)
    check("tests or caches in the wheel", not any("/tests/" in name or name.endswith(".pyc") for name in names))
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "Cargo.lock",
        "LICENSE",
        "THIRD_PARTY_LICENSES.txt",
        "README.md",
        "docs/concepts.md",
        "tests/conftest.py",
    ):
        check(f"{source.name} lacks {name}", name in inside)
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB; {source.name}: {len(inside)} files")


def extras() -> list[str]:
    """Extras that a user may ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [name for name in project["optional-dependencies"] if name not in DEVELOPERS]


def installed(extra: str) -> None:
    """The commands answer, the pages are there, and doctor finds the extra complete."""

    def run(*arguments: str) -> str:
        command = [Path(sys.executable).with_name("metatoken"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    report = json.loads(run("doctor", "--json"))
    check(f"doctor says {report['fixes']}", report["ok"])
    check(f"[{extra}] is not complete: {report['extras'].get(extra)}", not extra or report["extras"][extra]["ok"])
    check("no page to read", run("docs", "concepts").startswith("# Concepts"))
    check("no example", run("config", "beauty").startswith("# Amazon Beauty"))
    if not extra:
        refused = subprocess.run(
            [Path(sys.executable).with_name("metatoken"), "serve", "run"], check=False, capture_output=True, text=True
        )
        check(f"serve says {refused.stderr}", refused.returncode == 2)
        run("quickstart", "--users", "50", "--items", "36", "--epochs", "1", "-o", "demo")
    print(f"metatoken {report['metatoken']}{f' with [{extra}]' if extra else ''} works on Python {report['python']}")


if __name__ == "__main__":
    if sys.argv[1] == "--extras":
        print(*extras())
    elif sys.argv[1] == "--installed":
        installed(sys.argv[2])
    else:
        contents(*map(Path, sys.argv[1:]))
