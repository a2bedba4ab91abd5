"""What `metatoken inspect` does with a log: says how it was understood, before anything is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.cli.csv_files import write_csv
from metatoken.cli.kinds import text
from metatoken.cli.output import check_output_file, print_facts, reading, warn
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data.understood import Guess


def look(
    path: Path | None, given: dict[str, Any], write: Path | None, overwrite: bool, as_json: bool, csv: Path | None
) -> None:
    """Reads a log as it can be guessed, and prints what is in it.

    Args:
        path: The log, None where `given` names a database.
        given: Settings of the log that a person gave.
        write: Where to save a configuration.
        overwrite: Replace the file that is there.
        as_json: Print one JSON object.
        csv: Where to write facts and warnings as a table.
    """
    from metatoken.artifacts import atomic_file
    from metatoken.data.auditing import audit
    from metatoken.data.guess import guess_log
    from metatoken.data.interactions import read_log
    from metatoken.data.overview import configuration, overview
    from metatoken.data.settings import LogSettings

    if path is None and "uri" not in given:
        raise ArgumentError("WHAT", "expected a log, a vocabulary or a run; or --uri and --query of a database")
    _check_written(path, given, write, overwrite)
    with reading() as rows:
        guess = guess_log(given if path is None else {"path": path, **given})
        about = LogSettings.read(guess.settings)
        log = read_log(about)
        rows(log.rows_read)
    report = audit(log)
    facts = overview(log, report, guess.events)
    warnings = [*guess.warnings, *report.warnings]
    told = [*facts, *(("note", note) for note in log.notes)]
    if csv is not None:
        lines = [*told, *(("warning", warning) for warning in warnings)]
        write_csv(csv, [{"name": name, "value": value} for name, value in lines])
    if as_json:
        understood = {name: str(value) if isinstance(value, Path) else value for name, value in guess.settings.items()}
        print(
            json.dumps({"data": understood, "facts": dict(facts), "notes": log.notes, "warnings": warnings}, indent=2)
        )
    else:
        _print(guess, told, warnings)
    if write is not None:
        with atomic_file(write) as work:
            work.write_text(configuration(guess, log, warnings), encoding="utf-8")
        if not as_json:
            print(f"\nwritten to {write}; next: metatoken train {write}")
    elif not as_json:
        print("\nnext: the same with --write config.yaml, then metatoken train config.yaml")


def _check_written(path: Path | None, given: dict[str, Any], write: Path | None, overwrite: bool) -> None:
    """Refuses, before anything is read, a place for the configuration where something must stay."""
    if write is not None and write.exists() and not overwrite:
        raise ArgumentError("--write", f"{write} exists; choose another place, or pass --overwrite to replace it")
    items = None if given.get("items") is None else Path(given["items"])
    check_output_file("--write", write, {"WHAT": path, "--items": items}, text("a configuration", "^data:"))


def _print(guess: Guess, facts: list[tuple[str, object]], warnings: list[str]) -> None:
    shown = [(name, value) for name, value in guess.settings.items() if name != "path"]
    print_facts([(name, f"{value}  ({guess.reasons.get(name, 'as given')})") for name, value in shown])
    print()
    print_facts(facts)
    for warning in warnings:
        warn(warning)
