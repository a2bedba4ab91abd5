"""Collects the licences of the crates that are linked into the native core.

    python tools/licenses.py            # writes THIRD_PARTY_LICENSES.txt
    python tools/licenses.py --check    # exit code 1 if it is not what Cargo.lock asks for

Procedural macros and build scripts run while the core is compiled and are no part of it, so they are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "THIRD_PARTY_LICENSES.txt"
HEAD = """Third-party licences

The native core of metatoken (metatoken/_core) contains the Rust crates below, compiled and linked into one library.
Where a crate offers a choice of licences, metatoken uses the one whose text is printed.

It also contains the standard library of Rust (MIT OR Apache-2.0, copyright the Rust Project contributors), used under
the Apache License, Version 2.0, whose text is in LICENSE.
"""


def metadata() -> dict[str, Any]:
    """What cargo knows about the crates of Cargo.lock, for every platform."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--features", "python"]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT))  # noqa: S603
    return found


def linked(known: dict[str, Any]) -> list[dict[str, Any]]:
    """Packages that end up in the core, by name: reached from it through normal dependencies, macros aside."""
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    root = known["resolve"]["root"]
    reached, todo = {root}, [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            package = packages[dependency["pkg"]]
            is_macro = any("proc-macro" in target["kind"] for target in package["targets"])
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and not is_macro and package["id"] not in reached:
                reached.add(package["id"])
                todo.append(package["id"])
    return sorted((packages[key] for key in reached - {root}), key=lambda p: (p["name"], p["version"]))


def texts(package: dict[str, Any]) -> list[str]:
    """The licence texts that a crate carries: its MIT licence if it has one, otherwise every file of that name."""
    files = sorted(
        path
        for path in Path(package["manifest_path"]).parent.iterdir()
        if path.is_file() and path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))
    )
    mit = [path for path in files if "MIT" in path.name.upper()]
    notices = [path for path in files if path.name.upper().startswith("NOTICE")]
    chosen = [*(mit or [path for path in files if path not in notices]), *notices]
    if not chosen:
        sys.exit(f"{package['name']} {package['version']} carries no licence text; add it by hand to tools/licenses.py")
    return ["\n".join(line.rstrip() for line in path.read_text("utf-8").strip().splitlines()) for path in chosen]


def document() -> str:
    """The whole file."""
    parts = [HEAD]
    for package in linked(metadata()):
        title = f"{package['name']} {package['version']} ({package['license']})"
        parts.append("\n\n".join(["-" * 80, title, *texts(package)]) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Writes the file, or compares it."""
    text = document()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET.name} does not fit Cargo.lock: run python tools/licenses.py")


if __name__ == "__main__":
    main()
