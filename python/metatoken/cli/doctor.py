"""`metatoken doctor`: what is installed, what this machine can do, what is missing and the command that fixes it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from metatoken.cli.output import print_facts
from metatoken.cli.waiting import wait_policy
from metatoken.extras import check_packages, install_command

# Instruction sets that a kernel of ours or of torch dispatches on.
CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def cpu_features() -> list[str]:
    """Instruction sets of this processor that matter here; empty where the system does not list them."""
    listing = Path("/proc/cpuinfo")
    words = set(listing.read_text().split()) if listing.is_file() else set()
    return [flag for flag in CPU_FLAGS if flag in words]


def check_core() -> tuple[str | None, str | None]:
    """Version of the native core, or the reason why it does not load."""
    try:
        from metatoken import _core
    except ImportError as error:
        return None, str(error)
    return _core.__version__, None


def check_threads() -> dict[str, Any]:
    """How many threads a training takes by default, out of how many cores, and how they wait for each other."""
    from metatoken.run.threads import available_cores, default_threads

    return {"default": default_threads(), "cores": available_cores(), "waiting": wait_policy()}


def check_torch() -> dict[str, Any] | None:
    """Threads and devices as torch sees them; `None` where torch does not load."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a CUDA library that torch was built for is missing
        return None
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU")
    return {"threads": torch.get_num_threads(), "accelerator": ", ".join(names) or "no accelerator"}


def examine() -> dict[str, Any]:
    """Looks at the installed packages, the native core, torch and the processor.

    Returns:
        JSON values; `ok` says whether metatoken can run, `fixes` how to make it so.
    """
    packages = check_packages()
    needed = [p for p in packages if p.extra is None]
    broken = [p for p in needed if not p.ok]
    core, core_error = check_core()
    torch = check_torch()
    fixes = [install_command(broken)] if broken else []
    if torch is None and not any(p.name == "torch" for p in broken):
        fixes.append("python -m pip install --force-reinstall torch")
    if core is None:
        fixes.append("make install  (in a checkout; otherwise install the wheel again)")
    extras = {}
    for name in dict.fromkeys(p.extra for p in packages if p.extra is not None):
        missing = [p for p in packages if p.extra == name and not p.ok]
        fix = install_command(missing) if missing else None
        extras[name] = {"ok": not missing, "missing": [p.name for p in missing], "fix": fix}
    return {
        "ok": not fixes,
        "fixes": fixes,
        "metatoken": metadata.version("metatoken"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cpu_features": cpu_features(),
        "threads": check_threads(),
        "core": core,
        "core_error": core_error,
        "torch": torch,
        "packages": [asdict(p) for p in needed],
        "extras": extras,
    }


def print_report(report: dict[str, Any]) -> None:
    """Prints facts first, then what is missing with its fix, so that the last lines are the ones to act on."""
    torch, threads = report["torch"], report["threads"]
    print_facts(
        [
            ("metatoken", report["metatoken"]),
            ("python", f"{report['python']} on {report['platform']}"),
            ("processor", f"{report['cpus']} cores, {' '.join(report['cpu_features']) or 'no features listed'}"),
            ("threads", f"{threads['default']} on {threads['cores']} cores; they {threads['waiting']}"),
            ("native core", report["core"] or f"does not load: {report['core_error']}"),
            ("torch", f"{torch['threads']} threads, {torch['accelerator']}" if torch else "does not load"),
            *((p["name"], p["installed"] or "missing") for p in report["packages"]),
        ]
    )
    for name, extra in report["extras"].items():
        state = "complete" if extra["ok"] else f"without {', '.join(extra['missing'])}: {extra['fix']}"
        print(f"optional [{name}]: {state}")
    fixes = [f"fix: {fix}" for fix in report["fixes"]]
    print("\n".join(fixes) if fixes else "everything that metatoken needs is here")


def check_runs(runs: list[Path], as_json: bool) -> None:
    """Reads every file of runs, compares it with its checksum, and says how many there are."""
    from metatoken.run import RunFolder
    from metatoken.run.manifest import check_bytes

    found = {str(run): check_bytes(RunFolder(run)) for run in runs}
    if as_json:
        print(json.dumps({run: {"ok": True, "files": files} for run, files in found.items()}, indent=2))
        return
    for run, files in found.items():
        print(f"{run}: {len(files)} files are as they were saved")


def doctor(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Check every byte of these runs instead.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Say what is installed, what this machine can do, and how to fix what is missing; or check runs, byte by byte.

    Exit code 1 if something that metatoken always needs is missing.
    """
    if runs:
        check_runs(runs, as_json)
        return
    report = examine()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report)
    if not report["ok"]:
        raise typer.Exit(1)
