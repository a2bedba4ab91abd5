"""The configuration of a run: one YAML file, checked before any work, saved resolved with the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from metatoken.errors import ConfigError, hint


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextTable(Section):
    """A table of texts by user and item beside the log; the keys are those of `metatoken.data.read_texts`."""

    path: Path
    user: str = "user"
    item: str = "item"
    review: str | None = None
    summary: str | None = None
    explanation: str | None = None
    title: str | None = None
    add_pairs: bool = False


class DataConfig(Section):
    """Where the log is and how to read it; the keys are those of `Interactions.read`."""

    path: Path
    format: Literal["table", "sequences", "pairs", "sessions"] = "table"
    user: str = "user"
    item: str = "item"
    time: str | None = None
    rating: str | None = None
    review: str | None = None
    summary: str | None = None
    explanation: str | None = None
    texts: TextTable | None = None
    items: Path | None = None
    item_id: str | None = None
    title: str | None = None
    categories: str | None = None


class TokensConfig(Section):
    """How tokens are learned; the keys are those of `Vocabulary.fit`, and of `tokens.files.fit_arguments` for files."""

    levels: Literal["auto"] | list[int] = "auto"
    method: Literal["residual", "tree", "flat+rank"] = "residual"
    metric: Literal["euclidean", "cosine"] = "euclidean"
    dim: int = Field(default=64, ge=1, le=65536)
    meta_paths: list[str] = ["user-item-user", "item-user-item"]
    attributes: dict[str, str] = {}
    item_links: dict[str, str] = {}
    user_links: dict[str, str] = {}
    edge_weights: Literal["count", "distinct", "rating", "recency", "position"] = "count"
    half_life: float | None = Field(default=None, gt=0)
    restart: float = Field(default=0.0, ge=0, lt=1)
    walks_per_node: int = Field(default=10, ge=1)
    walk_length: int = Field(default=40, ge=2)
    window: int = Field(default=5, ge=1)
    negatives: int = Field(default=5, ge=1)
    epochs: int = Field(default=1, ge=1)
    hogwild: bool = False
    learning_rate: float = Field(default=0.05, gt=0)
    subsample: float = Field(default=0.0, ge=0)
    dynamic_window: bool = True
    cold: Literal["none", "neighbours"] = "none"
    min_edges: int = Field(default=0, ge=0)
    item_features: str | None = None
    kinds: Literal["joint", "apart", "items"] = "joint"
    unique: Literal["assignment", "nearest", "counter"] = "assignment"

    @field_validator("levels", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return [int(v) for v in value.split(",")] if isinstance(value, str) and value != "auto" else value


class WeightsConfig(Section):
    """Weights of the parts of the loss."""

    item: float = Field(default=1.0, ge=0)
    generation: float = Field(default=0.5, ge=0)
    shared: float = Field(default=0.25, ge=0)
    text: float = Field(default=0.25, ge=0)
    rating: float = Field(default=0.5, ge=0)


class ModelConfig(Section):
    """The model; the keys are those of `metatoken.model.settings.ModelSettings`."""

    backbone: str = "gpt2-preset"
    layers: int | None = Field(default=None, ge=1)
    preset: dict[str, int | float] = {}
    tuning: Literal["lora", "full", "frozen"] | None = None
    lora: dict[str, Any] | None = None
    gradient_checkpointing: bool = False
    tasks: list[str] = ["sequential", "direct"]
    max_text: int = Field(default=64, ge=1)
    leaf: bool = True
    normaliser: Literal["trie", "full"] = "trie"
    temperature: float = 0.07
    alpha: float = 1.0
    input_norm: float | None = None
    item_features: str | None = None
    user_tokens: Literal["none", "prefix", "out_of_fold", "full"] = "none"
    max_history: int = 50
    titles: bool = False
    title_tokens: int = Field(default=12, ge=1)
    weights: WeightsConfig = WeightsConfig()
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"


class TrainerConfig(Section):
    """How long and on what; `options` go to `lightning.Trainer` as they are."""

    max_epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=1)
    direct_share: float = Field(default=0.25, gt=0, le=1)
    shares: dict[str, float] = {}
    mixing_temperature: float = Field(default=1.0, ge=1)
    gradient_clip_val: float | None = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "32-true"
    accelerator: str = "auto"
    devices: int | str = "auto"
    strategy: str = "auto"
    checkpoint_every_steps: int | None = Field(default=None, ge=1)
    validation_users: int | None = 2000
    validate_every: int = Field(default=1, ge=1)
    options: dict[str, Any] = {}


class WritingConfig(Section):
    """How texts are written; the keys are those of `metatoken.decode.text.TextOptions`."""

    max_new_tokens: int | None = Field(default=None, ge=1)  # None: model.max_text
    min_new_tokens: int = Field(default=1, ge=0)
    num_beams: int = Field(default=1, ge=1)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    no_repeat_ngram_size: int = Field(default=0, ge=0)


class EvaluateConfig(Section):
    """How the run is scored."""

    width: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=1)
    fusion_users: int = Field(default=5000, ge=1)
    texts: int = Field(default=500, ge=1)
    writing: WritingConfig = WritingConfig()


class Config(Section):
    """Everything that defines a run."""

    data: DataConfig
    vocabulary: Path | None = None
    tokens: TokensConfig = TokensConfig()
    model: ModelConfig = ModelConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int | None = Field(default=None, ge=1)


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
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise ConfigError(f"{place}: broken YAML, {getattr(error, 'problem', None) or error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(Config.model_fields)}")
    for override in overrides or []:
        _override(values, override)
    return _check(values, path, text, overrides or [])


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected key=value, e.g. trainer.max_epochs=20")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a section")
        values = inner
    try:
        values[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: {value!r} is not a YAML value") from error


def _check(values: dict[str, Any], file: Path, text: str, overrides: list[str]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        first = next(
            (one for one in found if one["type"] == "extra_forbidden"), found[0]
        )  # a typo before what it hides
        path = [str(part) for part in first["loc"]]
        place, name = _place(path, file, text, overrides), ".".join(path)
        if first["type"] == "extra_forbidden":
            known = _known_keys(path[:-1])
            remedy = hint(path[-1], known, f"known are {', '.join(known)}")
            raise ConfigError(f"{place}: unknown key {name!r}; {remedy}") from error
        if first["type"] == "missing":
            raise ConfigError(f"{place}: {name!r} is missing; set it in the file or with --set {name}=...") from error
        if first["type"] == "model_type":
            keys = ", ".join(_known_keys(path))
            raise ConfigError(
                f"{place}: {name}: expected a section with keys of {keys}; got {first['input']!r}"
            ) from error
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{place}: {name}: {said}, got {first['input']!r}") from error


def _place(path: list[str], file: Path, text: str, overrides: list[str]) -> str:
    """Where a value at fault comes from: the last override of it or of what it is in, or a line of the file."""
    for override in reversed(overrides):
        keys = override.partition("=")[0].split(".")
        if keys == path[: len(keys)]:
            return f"--set {override}"
    line = _line_of(text, path)
    return str(file) if line is None else f"{file}:{line}"


def _known_keys(path: list[str]) -> list[str]:
    section: Any = Config
    for part in path:
        field = getattr(section, "model_fields", {}).get(part)
        found = field.annotation if field is not None else None
        section = next((kind for kind in get_args(found) if kind is not type(None)), found)  # of an optional one
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []


def _line_of(text: str, path: list[str]) -> int | None:
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


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
