"""A setting is declared once: each field of a class is an argument in Python, a key in YAML and an option."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from metatoken.cli.options import option_name, with_settings
from metatoken.cli.tokenize import tokenize
from metatoken.config import SettingError, Settings, setting, spec_of
from metatoken.data import Interactions, generate_world
from metatoken.data.settings import LogSettings, TextTableSettings
from metatoken.data.text_table import read_texts
from metatoken.decode.settings import TextOptions
from metatoken.errors import ArgumentError, ConfigError
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.model.settings import ModelSettings, Weights
from metatoken.run.config import Config, dump_config, load_config
from metatoken.run.settings import TrainerSettings
from metatoken.tasks.datamodule import TaskDataModule
from metatoken.tokens.settings import TokenSettings, parse_levels
from metatoken.tokens.vocabulary import Vocabulary
from tests.files import ROOT

SECTIONS: dict[str, type[Settings]] = {
    "data": LogSettings,
    "data.texts": TextTableSettings,
    "tokens": TokenSettings,
    "model": ModelSettings,
    "model.weights": Weights,
    "trainer": TrainerSettings,
    "evaluate": EvaluateSettings,
    "evaluate.writing": TextOptions,
}
KEYS = [(section, one) for section, kind in SECTIONS.items() for one in kind.keys().values()]
TOKENS = fields(TokenSettings)
MINIMUM: dict[str, Any] = {"data": {"path": "log.csv", "texts": {"path": "texts.csv"}}}
FAST: dict[str, Any] = {"levels": (4, 16), "dim": 4, "walks_per_node": 1, "walk_length": 4}


def name_of(value: object) -> str | None:
    return value.name if isinstance(value, Field) else None


def inside(config: Any, section: str) -> Any:
    for part in section.split("."):
        config = getattr(config, part)
    return config


@pytest.fixture(scope="module")
def log() -> Interactions:
    return generate_world(n_users=30, n_items=40, n_groups=2, seed=0).interactions()


@pytest.mark.parametrize(("section", "one"), KEYS, ids=name_of)
def test_yaml_takes_every_field_with_the_default_of_the_class(section: str, one: Field[Any], tmp_path: Path) -> None:
    config = Config.read(MINIMUM)
    default = one.default_factory() if one.default_factory is not MISSING else one.default
    if f"{section}.{one.name}" not in ("data.path", "data.texts", "data.texts.path"):
        assert getattr(inside(config, section), one.name) == default
    (tmp_path / "run.yaml").write_text(dump_config(config))
    plain = inside(config, section).plain()[one.name]
    override = f"{section}.{one.name}={yaml.safe_dump(plain, width=1000)}"
    assert load_config(tmp_path / "run.yaml", [override]) == config


@pytest.mark.parametrize("one", TOKENS, ids=name_of)
def test_the_command_line_offers_every_field_of_tokens(one: Field[Any]) -> None:
    offered = inspect.signature(tokenize).parameters[one.name]
    option = next(part for part in get_args(offered.annotation) if isinstance(part, typer.models.OptionInfo))
    assert option_name(one) in str(option.default).split("/")
    assert option.help == spec_of(one).help != ""
    default = getattr(TokenSettings(), one.name)
    assert offered.default == default or (offered.default is None and one.name in ("meta_paths", *DICTS))


DICTS = ("attributes", "item_links", "user_links")


@pytest.mark.parametrize("one", TOKENS, ids=name_of)
def test_fit_takes_every_field_of_tokens(one: Field[Any], log: Interactions) -> None:
    value = FAST.get(one.name, getattr(TokenSettings(), one.name))
    vocabulary = Vocabulary.fit(log, **FAST | {one.name: value})
    recorded = TokenSettings(**FAST | {one.name: value}).recorded()
    assert vocabulary.settings == recorded | {"seed": 0}


def test_fit_takes_ready_settings_and_single_fields_over_them(log: Interactions) -> None:
    ready = TokenSettings(**FAST)
    one, other = Vocabulary.fit(log, ready, dim=8), Vocabulary.fit(log, **FAST | {"dim": 8})
    assert one.settings == other.settings
    np.testing.assert_array_equal(one.vectors, other.vectors)


@dataclass(frozen=True)
class MoreSettings(TokenSettings):
    zeal: int = setting(3, "How much more.", ge=1, group="More")


def test_a_new_field_is_an_argument_a_key_and_an_option() -> None:
    assert MoreSettings.of(None, {"zeal": 5}).zeal == 5
    assert MoreSettings.read({"zeal": "5"}).zeal == 5
    app, seen = typer.Typer(), []

    @app.command()
    @with_settings(MoreSettings)
    def run(*, seed: Annotated[int, typer.Option()] = 0, **given: Any) -> None:
        seen.append((seed, MoreSettings(**given)))

    arguments = ["--zeal", "5", "--levels", "4,8", "--attribute", "genre", "--meta-path", "item>item", "--seed", "2"]
    result = CliRunner().invoke(app, [*arguments, "--no-dynamic-window", "--hogwild"])
    assert result.exit_code == 0, result.output
    given = {"zeal": 5, "levels": (4, 8), "attributes": {"genre": "genre"}, "meta_paths": ("item>item",)}
    assert seen == [(2, MoreSettings(**given, dynamic_window=False, hogwild=True))]
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen[1] == (0, MoreSettings())


@pytest.mark.parametrize(
    ("section", "function", "names"),
    [
        (TextTableSettings, read_texts, ()),
        (
            TrainerSettings,
            TaskDataModule,
            ("batch_size", "direct_share", "walk_share", "validation_users", "mixing_temperature"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_functions_have_the_defaults_of_the_settings(section: type[Settings], function: Any, names: tuple) -> None:
    parameters = inspect.signature(function).parameters
    for one in fields(section):
        if one.name in names or (not names and one.name not in ("path", "texts", "split")):
            assert parameters[one.name].default == one.default, one.name


@pytest.mark.parametrize(
    ("value", "levels"),
    [("auto", "auto"), ("256,64", (256, 64)), (" 8", (8,)), ([4, 8], (4, 8)), (np.array([4, 8]), (4, 8))],
)
def test_levels(value: object, levels: object) -> None:
    assert parse_levels(value) == levels


@pytest.mark.parametrize("value", ["", "256,", "a,b", "2.5", "256;64", [], [0], [2.5], [True], 8, None, (2,) * 27])
def test_levels_that_are_none(value: object) -> None:
    with pytest.raises(ArgumentError, match=r"levels: expected"):
        TokenSettings(levels=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 0}, "dim: expected an integer of at least 1 and at most 65536, got 0"),
        ({"dim": 2.5}, "dim: expected an integer"),
        ({"dim": True}, "dim: expected an integer"),
        ({"epochs": 2**70}, "epochs: expected an integer"),
        ({"restart": 1}, "restart: expected a probability of at least 0 and below 1, got 1"),
        ({"learning_rate": math.nan}, "learning_rate: expected a number above 0 and at most 1, got nan"),
        ({"half_life": math.inf}, "half_life: expected a number above 0, got inf"),
        ({"min_learning_rate": 0.5}, "min_learning_rate: expected a number of at least 0 and at most learning_rate"),
        ({"negatives": 32}, "negatives: expected an integer of at least 1 and at most 31, got 32"),
        ({"method": "magic"}, "method: expected one of residual, tree, flat+rank, got 'magic'"),
        ({"hogwild": "yes"}, "hogwild: expected true or false, got 'yes'"),
        ({"meta_paths": []}, "meta_paths: expected one or more meta-paths in a list"),
        ({"item_links": {"maker": 3}}, "item_links.maker: expected text, got 3"),
        ({"item_links": "maker"}, "item_links: expected a mapping"),
        ({"item_features": 3}, "item_features: expected text, got 3"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as refused:
        TokenSettings(**values)
    assert str(refused.value).startswith(message)
    assert isinstance(refused.value, ArgumentError)
    assert isinstance(refused.value, ConfigError)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in (TokenSettings, ModelSettings, Weights, TextOptions)
     for name, one in kind.keys().items() if "float" in str(one.type) and "dict" not in str(one.type)],
    ids=str,
)  # fmt: skip
def test_numbers_are_finite(kind: type[Settings], name: str, bad: float) -> None:
    with pytest.raises(SettingError, match=rf"{name}: expected a .*, got -?(nan|inf)"):
        kind.of(None, {name: bad})


def test_names_that_are_not_known(log: Interactions) -> None:
    with pytest.raises(ArgumentError, match="unknown setting 'levle'; did you mean 'levels'"):
        Vocabulary.fit(log, levle=[4])
    with pytest.raises(ArgumentError, match="unknown setting 'window'; known are levels, "):
        Vocabulary.from_embeddings(["a"], np.ones((1, 2)), window=3)
    with pytest.raises(ConfigError, match=r"unknown setting 'temperatur'; did you mean 'temperature'"):
        ModelSettings.of(None, {"temperatur": 1})
    with pytest.raises(ConfigError, match=r"model\.weights\.item: expected a number of at least 0, got -1"):
        ModelSettings(weights={"item": -1})  # type: ignore[arg-type]


def test_settings_are_brought_to_their_type() -> None:
    settings = TokenSettings(dim=np.int64(8), restart=np.float32(0.5), walk_length="9", levels="4,8")  # type: ignore[arg-type]
    assert settings == TokenSettings(dim=8, restart=0.5, walk_length=9, levels=(4, 8))
    assert TrainerSettings(devices="2").devices == "2"
    assert TrainerSettings(devices=2).devices == 2
    assert ModelSettings(learning_rate="1e-3").learning_rate == 0.001  # type: ignore[arg-type]
    assert [*map(type, ModelSettings(preset={"dim": 8, "dropout": 0.1}).preset.values())] == [int, float]
    assert replace(settings, dim=3).dim == 3


def test_settings_of_tokens_import_nothing_heavy() -> None:
    code = "import sys, metatoken.tokens.settings, metatoken.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "polars", "numpy", "pydantic", "yaml", "metatoken._core"} & set(loaded)


def test_the_page_about_runs_lists_every_key() -> None:
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(" `"): row for row in page.splitlines() if row.startswith("| `")}
    for section in ("data", "tokens"):
        assert not [name for name in SECTIONS[section].keys() if f"`{name}`" not in rows[section]]  # noqa: SIM118
    table = page[page.index("| key of `trainer`") :]
    assert not [name for name in TrainerSettings.keys() if f"`{name}`" not in table]  # noqa: SIM118
    assert not [name for name in EvaluateSettings.keys() if f"`{name}`" not in rows["evaluate"]]  # noqa: SIM118
