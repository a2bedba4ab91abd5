"""The configuration of a run: one YAML file, checked before any work, saved resolved with the run."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from metatoken.config import SettingError, Settings, filled, setting
from metatoken.data.settings import LogSettings
from metatoken.errors import ConfigError
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.model.settings import ModelSettings
from metatoken.run.settings import TrainerSettings
from metatoken.run.yaml_text import parse_yaml, shortened
from metatoken.tasks.task import tasks_of
from metatoken.tokens.settings import TokenSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

LONGEST = 4096  # characters of a path
NEAR = 0.8  # how like a key a name is that was meant for it


@dataclass(frozen=True)
class Config(Settings):
    """Everything that defines a run; each section is declared beside what it sets."""

    data: LogSettings = field()
    vocabulary: Path | None = setting(None, "A folder of `metatoken tokenize`; without it tokens are learned first.")
    tokens: TokenSettings = field(default_factory=TokenSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    seed: int = setting(0, "Seed of every random choice.", ge=0, size=False)
    threads: int | None = setting(
        None, "By default OMP_NUM_THREADS, or all cores that the process may use.", ge=1, le=1024
    )

    def check(self) -> None:
        """Refuses a share of a task that the run has not, and a shortest text that is longer than the longest."""
        for name in self.trainer.shares:
            if name not in self.needs:
                known = ", ".join(self.needs) or "none"
                said = f"{name!r} is no rating or text task of the run; it has {known}"
                raise SettingError(("trainer", "shares"), said)
        writing = self.evaluate.writing
        if writing.max_new_tokens is None and writing.min_new_tokens > self.model.max_text:
            said = f"expected at most model.max_text, {self.model.max_text}, got {writing.min_new_tokens}"
            raise SettingError(("evaluate", "writing", "min_new_tokens"), said)

    def resolved(self, n_targets: int) -> Config:
        """The configuration with what it leaves to the size of the log, see `metatoken.tasks.recipe`."""
        trainer = filled(self.trainer, self.model.recipe(n_targets), "max_epochs", "batch_size")
        return replace(self, model=self.model.resolved(n_targets), trainer=trainer)

    def filled(self, other: Config) -> Config:
        """The configuration with what it leaves open as another one has it, that of a run."""
        trainer = filled(self.trainer, other.trainer, "max_epochs", "batch_size")
        return replace(self, model=self.model.filled(other.model), trainer=trainer)

    def reading(self, item_tokens: np.ndarray) -> Config:
        """The configuration with what it leaves to the tokens of the items, see `ModelSettings.reading`."""
        return replace(self, model=self.model.reading(item_tokens))

    @property
    def needs(self) -> dict[str, frozenset[str]]:
        """Columns of the log that a row must have a value in, by task that rates or writes."""
        return {task.name: task.columns for task in tasks_of(self.model.tasks, "rate", "write")}

    @property
    def holds_last_out(self) -> bool:
        """Whether the last items of each user are held out, and nothing else, so that a grown log is split alike."""
        return self.data.split == "leave-last-out" and not self.needs

    def files(self) -> list[Path]:
        """What the configuration names and is there: files and folders that a training may read."""
        given = [str(value) for value in flat(self).values() if isinstance(value, str) and value]
        named = {name: None for value in given for name in (value, value.rsplit(":", 2)[0], value.partition(":")[0])}
        return [Path(name) for name in named if len(name) < LONGEST and os.path.exists(name)]  # noqa: PTH110

    @property
    def rates(self) -> bool:
        """Whether a task rates."""
        return bool(tasks_of(self.model.tasks, "rate"))

    @property
    def shows_users(self) -> bool:
        """Whether prompts hold user tokens."""
        from metatoken.tasks.ranking import RANKING  # computes with torch, which reading a file does not need

        ranked = tasks_of(self.model.tasks, "rank")
        return self.model.user_tokens != "none" or any(RANKING[task.name].needs_user for task in ranked)


SECTIONS: dict[str, type[Settings]] = {
    "data": LogSettings, "tokens": TokenSettings, "model": ModelSettings, "trainer": TrainerSettings,
    "evaluate": EvaluateSettings,
}  # fmt: skip


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Reads and checks a YAML file.

    Args:
        path: The file. Relative paths in it are relative to the working directory, as they would be on a command line.
        overrides: `key.sub=value`, values in YAML, later ones win.

    Raises:
        ConfigError: The file is missing or broken, a key unknown, a value not usable; file and line where known.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a YAML text file, got bytes that are not UTF-8") from error
    values = parse_yaml(text, path)
    if not isinstance(values, dict):
        log = f"; of a log, `metatoken inspect {path} --write config.yaml` makes one" if _is_table(path) else ""
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(Config.keys())}{log}")
    override(values, overrides or [])
    try:
        return Config.read(values)
    except SettingError as error:
        raise _unusable(error, _place(error.path, path, text, overrides or [])) from error


def scored_by(config: Config, overrides: Iterable[str], section: str = "evaluate") -> Config:
    """The configuration of a run with other settings of `evaluate`, none of which changes what was trained.

    Args:
        config: That of the run.
        overrides: `evaluate.key.sub=value`, values in YAML, later ones win.
        section: What may be changed: `evaluate`, or `evaluate.writing` alone.

    Raises:
        ConfigError: A key is unknown or of something else, or a value not usable.
    """
    overrides, values = list(overrides), {"evaluate": config.evaluate.plain()}
    if not overrides:
        return config
    for text in overrides:
        if not text.startswith(f"{section}."):
            said = f"expected a key of {section}, e.g. evaluate.writing.num_beams=4; the rest is as the run was trained"
            raise ConfigError(f"--set {shortened(text)}: {said}")
    override(values, overrides)
    try:
        return Config.read({**config.plain(), **values})
    except SettingError as error:
        raise _unusable(error, _place(error.path, Path(), "", overrides)) from error


def _unusable(error: SettingError, place: str) -> ConfigError:
    """What is said of a value at fault, and of where it comes from."""
    name = error.argument
    said = {
        "unknown": f"unknown key {name!r}; {_elsewhere(error.path) or error.said}",
        "missing": f"{name!r} is missing; set it in the file or with --set {name}=...",
    }
    return ConfigError(f"{place}: {said.get(error.kind, str(error))}")


def _is_table(path: Path) -> bool:
    """Whether a file has the name of a table or a log, not that of a configuration."""
    return path.suffix.lower() not in (".yaml", ".yml", "")


def _elsewhere(path: tuple[str, ...]) -> str | None:
    """Which keys were meant, in this section or another one; None where none has such a name."""
    *sections, name = path
    if len(sections) > 1 or (not sections and difflib.get_close_matches(name, SECTIONS, 1)):
        return None
    keys = [(one, key) for one, inner in SECTIONS.items() for key in inner.keys()]  # noqa: SIM118
    within = [pair for pair in keys if not sections or [pair[0]] == sections]
    near = set(difflib.get_close_matches(name, [key for _, key in within], 3, NEAR))
    same = [f"{one}.{key}" for one, key in keys if key == name]
    close = [f"{one}.{key}" for one, key in within if key in near or name in key.split("_")]
    if sections and not same:
        return None  # what is like it here is said anyway
    found = [*dict.fromkeys([*close, *same] if sections else [*same, *close])][:3]
    return f"did you mean {' or '.join(found)}?" if found else None


def key_named(name: str) -> str | None:
    """The full key that an option such as `--max-epochs` may mean: of training, else of the one section that has it."""
    bare = name.lstrip("-").replace("-", "_")
    found = [f"{one}.{key}" for one, inner in SECTIONS.items() for key in inner.keys() if key == bare]  # noqa: SIM118
    trainer = [key for key in TrainerSettings.keys() if bare == key or bare in key.split("_")]  # noqa: SIM118
    if trainer:
        return f"trainer.{trainer[0]}"
    return bare if bare in Config.keys() else found[0] if len(found) == 1 else None  # noqa: SIM118


def override(values: dict[str, Any], overrides: Iterable[str]) -> None:
    """Sets `key.sub=value`, each value in YAML, in a mapping of sections; `ConfigError` for anything else."""
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {text}: expected key=value, e.g. trainer.max_epochs=20")
        *parents, last = key.split(".")
        section = values
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError(f"--set {text}: {parent} is a value, not a section")
        section[last] = parse_yaml(value, f"--set {shortened(text)}")


def _place(path: tuple[str, ...], file: Path, text: str, overrides: list[str]) -> str:
    """Where a value at fault comes from: the last override of it, in it or around it, or a line of the file."""
    for override in reversed(overrides):
        keys = tuple(override.partition("=")[0].split("."))
        if keys[: len(path)] == path[: len(keys)]:
            return f"--set {override}"
    line = _line_of(text, path)
    return str(file) if line is None else f"{file}:{line}"


def _line_of(text: str, path: tuple[str, ...]) -> int | None:
    """Line (from 1) of a key in the file, None where it is not there."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == part:
                node, line = value, key.start_mark.line + 1
                break
        else:
            break
    return line


def flat(config: Config) -> dict[str, Any]:
    """The plain values of a configuration by their full key, e.g. `trainer.max_epochs`."""
    return dict(_flat(config.plain()))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.plain(), sort_keys=False, allow_unicode=True)
