"""Hostile values for every setting, key, option and argument: each is taken, or refused by an exception of ours."""

from __future__ import annotations

import contextlib
import io
import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.judging import Call, Found, in_processes, make_calls

if TYPE_CHECKING:
    from tests.faults.zygote import Zygote

HOSTILE = (
    0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, -(2**70), 0.0, -0.5, 1e20, 1e-320, math.nan, math.inf, -math.inf,
    True, None, "", " ", "x", "1e999", "nan", "9" * 5000, "\0", "a\nb", "..", "/", [], [[]], {}, {"a": {}}, [1, "x"],
    ["sequential", "sequential"], (2**62,), b"bytes", object(), "[" * 1000, "\ud800", {1: 2}, [None], {"a"},
)  # fmt: skip
TEXTS = (
    "", " ", "0", "-1", "1", "2147483648", "9223372036854775807", "9223372036854775808", "1" * 400, "1" * 5000, "0.5",
    "-0.0", "1e20", "1e-320", "nan", "inf", "-inf", "1e999", "true", "x", "a=b", "=", "a=", ",", "1,1", "1,-1", "a\nb",
    "\x1b[2J", "..", "/dev/null", "/proc/self/mem", "~", "*", "[", "{", "'", '"', "é", "\u202e", "a" * 5000,
)  # fmt: skip


def wrong_calls(zygote: Zygote, base: Path, folder: Path, tries: int) -> Found:
    """Makes calls in processes of their own."""
    return in_processes("tests.faults.calls", base, folder, tries)


def all_calls(base: Path) -> list[Call]:
    """Every call, in an order that mixes their kinds."""
    kinds = [
        list(kind) for kind in (setting_calls(), key_calls(base / "config.yaml"), option_calls(base), api_calls(base))
    ]
    rng = random.Random(0)  # noqa: S311
    for kind in kinds:
        rng.shuffle(kind)
    longest = max(map(len, kinds))
    return [kind[at] for at in range(longest) for kind in kinds if at < len(kind)]


def setting_calls() -> Iterator[Call]:
    """Values for every field of every class of settings."""
    for kind in setting_classes():
        for one in fields(kind):
            for value in HOSTILE:
                yield _label(kind.__name__, one.name, value), partial(kind.of, None, {one.name: value})


def key_calls(config: Path) -> Iterator[Call]:
    """Values for every key of a configuration, as `--set` gives them."""
    from metatoken.run.config import flat, load_config

    for key in sorted(flat(load_config(config))):
        for value in HOSTILE:
            yield _label("set", key, value), partial(load_config, config, [f"{key}={value}"])


def option_calls(base: Path) -> Iterator[Call]:
    """Texts for every option and argument of every command."""
    import typer.main

    from metatoken.cli.app import app, main

    found: Any = typer.main.get_command(app)
    for name, command in found.commands.items():
        sound = sound_argv(base)[name]
        for one in command.params:
            if getattr(one, "is_flag", False) or one.name in ("help", "host"):
                continue
            for text in TEXTS:
                if one.param_type_name == "argument":
                    argv = [name, text, *sound[1:]]
                else:
                    argv = [name, *sound, f"{one.opts[-1]}={text}" if one.opts[-1].startswith("--") else one.opts[-1]]
                    argv += [] if one.opts[-1].startswith("--") else [text]
                yield _label(name, one.opts[-1], text), partial(_command, main, argv)


def sound_argv(base: Path) -> dict[str, list[str]]:
    """A call of each command that works, or that is refused at its end where it would not come back."""
    from tests.faults.bed import COLUMNS, SMALL, items_of

    run, log, here = base / "run", base / "world" / "interactions.csv", base.parent
    argv: dict[str, list[object]] = {
        "quickstart": ["--users", 50, "--items", 36, "--epochs", 1, "-o", base / "users.txt"],
        "generate": ["--users", 20, "--items", 40, "--interactions", 100, "-o", here / "c-shop", "--overwrite"],
        "plan": ["--users", 20, "--items", 40, "--interactions", 100],
        "inspect": [log, *COLUMNS],
        "config": [],
        "tokenize": [log, *COLUMNS, *SMALL, "-o", here / "c-vocabulary", "--overwrite"],
        "assign": [base / "vectors.npy", "--codebook", run, "-o", here / "c-codes", "--overwrite"],
        "text-vectors": [items_of(base), "--backbone", base / "exported", "--components", 4, "-o", here / "c-text"],
        "train": [base / "config.yaml", "-o", here / "c-run", "--overwrite"],
        "split": [log, *COLUMNS, "--by", "ratio", "-o", here / "c-split", "--overwrite"],
        "extend": [run, log, "-o", here / "c-extended", "--overwrite"],
        "rebuild": [base / "none", "-o", here / "c-rebuilt", "--overwrite"],
        "ensemble": [run, base / "other", "-o", here / "c-joined", "--overwrite"],
        "baseline": [run, "item_knn"],
        "evaluate": [run, "--no-unseen"],
        "compare": [run, base / "other", "--resamples", 10],
        "report": [run, base / "other", "--resamples", 10, "-o", here / "c-report.html"],
        "recommend": [run, "--history", "", "-k", 3],
        "answer": [run, "rating", "--user", "u", "--item", "i"],
        "serve": [base / "none", "--port", 0],
        "export": [run, here / "c-exported", "--overwrite"],
        "doctor": [run],
        "docs": ["concepts"],
    }
    return {name: [str(one) for one in rest] for name, rest in argv.items()}


def api_calls(base: Path) -> Iterator[Call]:
    """Values for every argument of the public functions and classes."""
    from tests.faults.doors import doors

    for name, (call, arguments, hostile) in doors(base).items():
        for argument in arguments:
            for value in (*HOSTILE, *hostile):
                yield _label(name, argument, value), partial(call, **(arguments | {argument: value}))


def setting_classes() -> list[Any]:
    """Every class of settings that has a default for each of its fields."""
    from metatoken.baselines.settings import EASESettings, ItemKNNSettings, SASRecSettings
    from metatoken.data.settings import LogSettings
    from metatoken.decode.settings import TextOptions
    from metatoken.engine.settings import EngineSettings
    from metatoken.evaluate.settings import EvaluateSettings
    from metatoken.model.backbone.presets import PresetSize
    from metatoken.model.settings import ModelSettings, Weights
    from metatoken.run.settings import ExtendSettings, TrainerSettings
    from metatoken.tokens.settings import TokenSettings

    return [
        EASESettings, ItemKNNSettings, SASRecSettings, TextOptions, EvaluateSettings, PresetSize, ModelSettings,
        Weights, TrainerSettings, TokenSettings, EngineSettings, ExtendSettings, LogSettings,
    ]  # fmt: skip


def _label(what: str, name: str, value: object) -> str:
    return f"{what}({name}={repr(value)[:60]})"


def _command(main: Callable[[list[str]], None], argv: list[str]) -> None:
    """Runs a command in this process: `AssertionError` unless it does it, or refuses in one line with exit code 2."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(argv)
        except SystemExit as end:
            code = end.code
    lines = [line for line in err.getvalue().splitlines() if line and not line.startswith("warning: ")]
    errors = [line for line in lines if line.startswith("error: ")]
    if code not in {0, None} and not (code == 2 and len(errors) == 1 and lines[-1] == errors[0]):
        raise AssertionError(f"{code}, {lines[-3:]}")


if __name__ == "__main__":
    make_calls(all_calls(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
