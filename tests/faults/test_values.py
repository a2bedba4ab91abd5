"""Values that are legal numbers or texts and yet cannot be used: refused in one line, before anything is allocated."""

from __future__ import annotations

import gzip
import time
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from metatoken.bounds import check_memory
from metatoken.config import MOST, SettingError, shown, spec_of
from metatoken.data.conditions import parse_condition
from metatoken.errors import ArgumentError, ConditionError, ConfigError
from metatoken.model.settings import ModelSettings, Weights
from metatoken.run.config import load_config
from metatoken.run.yaml_text import parse_yaml
from metatoken.tokens.codes.clustering import fit
from metatoken.tokens.settings import TokenSettings
from metatoken.tokens.vectors.matrix import read_matrix
from tests.faults.calls import setting_classes

COUNTS = {
    "fusion_users", "users", "texts", "warmup_steps", "seed", "softmax_samples", "checkpoint_every_steps",
    "validation_users", "sample", "min_edges", "max_cluster_size", "max_items",
}  # fmt: skip


@pytest.mark.parametrize("kind", setting_classes(), ids=lambda kind: kind.__name__)
def test_every_integer_that_sizes_something_has_an_upper_bound(kind: Any) -> None:
    types = get_type_hints(kind)
    for one in fields(kind):
        if int in {types[one.name], *get_args(types[one.name])}:
            assert spec_of(one).most <= MOST or spec_of(one).le is not None or one.name in COUNTS, one.name


def test_a_size_beyond_the_bound_is_refused_by_name() -> None:
    with pytest.raises(
        SettingError, match=rf"walk_length: expected an integer of at least 2 and at most {MOST}, got 2"
    ):
        TokenSettings(walk_length=2_000_000_000)
    with pytest.raises(SettingError, match="levels: expected sizes of at most"):
        TokenSettings(levels=(60, 16_777_216))
    with pytest.raises(ArgumentError, match=r"levels: needs .* GB of memory"):
        check_memory("levels", 1 << 60)


def test_a_model_that_learns_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="weights"):
        Weights(item=0, generation=0, shared=0, text=0, rating=0)
    assert ModelSettings(weights={"item": 1, "generation": 0, "shared": 0, "text": 0, "rating": 0}).weights.item == 1  # type: ignore[arg-type]


def test_a_long_value_is_shown_short() -> None:
    assert len(shown("x" * 10_000)) < 300
    assert len(shown([["x" * 100] * 100] * 100)) < 1100
    assert shown("soon") == "'soon'"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = {
    "the same key twice": ("data: {path: a}\nseed: 1\nseed: 2\n", r"c\.yaml:3: the key 'seed' stands in line 2"),
    "references that grow": (BOMB, "holds more than"),
    "a reference to itself": ("data: &a {path: *a}\n", "refers to itself"),
    "nested deep": (f"data: {'[' * 3000}{']' * 3000}\n", "nested too deep"),
    "a number of thousands of digits": (f"seed: {'9' * 5000}\n", "cannot be read"),
    "a date that is none": ("seed: 2024-13-45\n", "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_configuration_that_no_person_writes(name: str, tmp_path: Path) -> None:
    text, said = BROKEN[name]
    (tmp_path / "c.yaml").write_text(text)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=said) as refused:
        load_config(tmp_path / "c.yaml")
    assert len(str(refused.value)) < 1000
    assert time.monotonic() - began < 60


def test_yaml_that_people_write() -> None:
    text = "base: &base {a: 1, b: [x, y]}\nother: {<<: *base, c: 2}\n"
    assert parse_yaml(text, "x") == {"base": {"a": 1, "b": ["x", "y"]}, "other": {"a": 1, "b": ["x", "y"], "c": 2}}
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize("scale", [1e20, 1e30, 1e-20, 1e-30])
@pytest.mark.parametrize("method", ["residual", "tree", "flat+rank"])
def test_vectors_whose_squares_float32_cannot_hold(scale: float, method: str) -> None:
    x = (np.random.default_rng(0).normal(size=(60, 8)) * scale).astype(np.float32)
    levels = [4, 60] if method == "flat+rank" else [8, 4]
    with pytest.raises(ArgumentError, match=r"x: expected the largest value .* multiply the vectors by 1e"):
        fit(x, levels, method=method)


def test_masked_values_are_not_read_as_numbers() -> None:
    masked = np.ma.masked_array(np.ones((3, 2)), mask=[[True, False], [False, False], [False, False]])
    with pytest.raises(ArgumentError, match="masked"):
        read_matrix(masked)
    assert len(read_matrix(np.ma.masked_array(np.ones((3, 2))))) == 3


@pytest.mark.parametrize("text", ["price < {}x", "price < {}.{}.", "price < {}e", "price < -{}..", "price < .{}x"])
def test_a_filter_is_read_in_linear_time(text: str) -> None:
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(ConditionError):
            parse_condition(text.replace("{}", "1" * 4800))
    assert time.monotonic() - began < 10  # one of these took 4 s before


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 4400, "0" * 4500 + "1e999"])
def test_a_number_that_no_column_holds(number: str) -> None:
    with pytest.raises(ConditionError, match="too large"):
        parse_condition(f"price < {number}")


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1.5", 1.5), (".5", 0.5), ("2.", 2.0), ("-3e2", -300.0), ("1E-2", 0.01), ("007", 7)]
)
def test_numbers_of_filters_are_read_as_before(text: str, value: float) -> None:
    node: Any = parse_condition(f"price < {text}")
    assert node.values == (value,)
    assert type(node.values[0]) is type(value)


def test_a_table_that_is_small_only_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    from metatoken import artifacts, bounds
    from metatoken.data import Interactions
    from metatoken.errors import ArtifactError, DataError

    rows, text = pl.repeat("u", 200_000, eager=True), pl.repeat("x" * 1000, 20_000, eager=True)
    pl.DataFrame({"user": rows, "item": rows}).write_parquet(tmp_path / "rows.parquet")
    pl.DataFrame({"user": text}).write_parquet(tmp_path / "text.parquet")
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(b"user,item\n" + b"u,i\n" * 2_000_000))
    assert all(file.stat().st_size < 100_000 for file in tmp_path.iterdir())
    monkeypatch.setattr(bounds, "memory", lambda: 5_000_000)
    monkeypatch.setattr("metatoken.data.files.memory", lambda: 5_000_000)
    with pytest.raises(ArtifactError, match=r"rows\.parquet: needs 0\.0 GB of memory"):
        artifacts.read_frame(tmp_path / "rows.parquet", {})
    with pytest.raises(ArtifactError, match=r"text\.parquet: needs 0\.0 GB of memory"):
        artifacts.read_frame(tmp_path / "text.parquet", {})
    with pytest.raises(DataError, match="read it in parts"):
        Interactions.read(tmp_path / "rows.parquet", user="user", item="item")
    with pytest.raises(DataError, match=r"holds more than .* when it is decompressed"):
        Interactions.read(tmp_path / "log.csv.gz", user="user", item="item")
    with pytest.raises(ArgumentError, match="x: needs"):
        read_matrix(np.zeros((1_000_000, 4), dtype=np.float64)).whole()


SENSELESS = {
    "learning_rate": -1, "schedule": "x", "temperature": float("nan"), "alpha": float("inf"), "weight_decay": -0.1,
    "warmup_steps": -1, "tasks": ["sequential", "sequential"],
}  # fmt: skip


@pytest.mark.parametrize("name", SENSELESS)
def test_settings_of_a_model_without_sense(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        ModelSettings.of(None, {name: SENSELESS[name]})


def test_an_object_of_another_class_is_named() -> None:
    from metatoken import audit, leave_last_out, no_split
    from metatoken.run import evaluate_run, fit_baselines

    for call, name in (
        (audit, "log"),
        (leave_last_out, "log"),
        (no_split, "log"),
        (evaluate_run, "run"),
        (fit_baselines, "run"),
        (parse_condition, "where"),
    ):
        with pytest.raises(TypeError, match=f"^{name}: expected [A-Zs]"):
            call(5)  # type: ignore[operator]


def test_integers_beyond_64_bits_are_refused_before_the_core(vocabulary: Any, split: Any) -> None:
    from metatoken import Vocabulary
    from metatoken.tokens.codes.clustering import fit
    from metatoken.tokens.graph.walks import Graph, walks
    from metatoken.tokens.vectors import skipgram

    graph, much = Graph.from_interactions(split.train), 1 << 64
    for name, call in {
        "walk_length": lambda: walks(graph, "item-user-item", walk_length=much),
        "seed": lambda: skipgram.fit(graph, dim=4, seed=1 << 63),
        "threads": lambda: vocabulary.codebook.assign(np.zeros((1, 16)), threads=-much),
        "threads ": lambda: fit(np.zeros((4, 2)), [2, 2], threads=much),
        "seed ": lambda: Vocabulary.fit(split.train, seed=much),
    }.items():
        with pytest.raises(ArgumentError, match=f"^{name.strip()}: expected an integer"):
            call()


def test_codes_of_another_form_are_refused(vocabulary: Any) -> None:
    book = vocabulary.codebook
    for codes in (np.zeros((2, 2)), np.zeros(2, dtype=int), np.zeros((2, 3), dtype=int), np.array([[0, 99]]), ["a"]):
        with pytest.raises(ArgumentError, match=r"^codes: expected"):
            book.decode(codes)


def test_a_vocabulary_is_fitted_on_interactions(split: Any) -> None:
    from metatoken import Vocabulary

    with pytest.raises(TypeError, match=r"^train: expected Interactions"):
        Vocabulary.fit("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^attributes: expected Mapping"):
        Vocabulary.fit(split.train, attributes=np.zeros(3))  # type: ignore[arg-type]


def test_an_attribute_that_no_path_walks_is_refused() -> None:
    import metatoken as mt
    from metatoken.tokens.files import graph_links

    train = mt.leave_last_out(mt.generate_world(n_users=50, n_items=36, n_groups=3).interactions()).train
    column = next(name for name in train.item_table.columns if name not in ("item", "title"))
    for paths in (("user-item-user",), ("user-item-user share=0.5", "item>item")):
        with pytest.raises(ArgumentError, match="no meta-path walks 'kind'"):
            graph_links(TokenSettings(attributes={"kind": column}, meta_paths=paths), train)
    for path in ("item-kind-item", "item - kind - item share=0.5", "kind-item<item-kind"):
        assert set(graph_links(TokenSettings(attributes={"kind": column}, meta_paths=(path,)), train)) == {"kind"}


@pytest.mark.parametrize("kind", setting_classes(), ids=lambda kind: kind.__name__)
def test_a_list_of_choices_is_not_empty(kind: Any) -> None:
    for one in fields(kind):
        if isinstance(one.default, tuple):
            with pytest.raises(SettingError, match=rf"{one.name}: expected"):
                kind.of(None, {one.name: []})


UNREADABLE: dict[str, Any] = {
    "too large": lambda n: np.full((n, 3), 1e30),
    "too small": lambda n: np.full((n, 3), 1e-30),
    "no numbers": lambda n: np.full((n, 3), np.nan),
    "of other items": lambda _: np.ones((3, 3)),
    "one row": np.ones,
    "text": lambda n: [["x"]] * n,
    "nothing": lambda n: np.ones((n, 0)),
    "masked": lambda n: np.ma.masked_array(np.ones((n, 3)), mask=True),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_features_that_no_model_can_read(name: str, vocabulary: Any) -> None:
    from metatoken import MetaTokenModule

    tiny: dict[str, Any] = {"preset": {"dim": 8, "layers": 1, "heads": 1, "positions": 80}, "max_history": 6}
    with pytest.raises(ArgumentError, match=r"^features: "):
        MetaTokenModule(vocabulary, features=UNREADABLE[name](vocabulary.n_items), **tiny)
    whole: Any = np.ones((vocabulary.n_items, 2), dtype=int)  # whole numbers are numbers
    assert MetaTokenModule(vocabulary, features=whole, **tiny).item_features.dtype == np.float32


@pytest.mark.parametrize("scale", [1e30, 1e200, 1e-25])
def test_features_whose_squares_vanish_or_overflow(scale: float, split: Any) -> None:
    from metatoken import Vocabulary

    features = np.random.default_rng(0).normal(size=(split.log.n_items, 3)) * scale
    with pytest.raises(ArgumentError, match=r"^features: expected a largest value .* multiply the vectors by"):
        Vocabulary.fit(split.train, levels=[8, 32], dim=8, features=features, min_edges=2)


def test_sizes_of_a_world_are_integers() -> None:
    from metatoken import generate_world

    for name in ("n_users", "n_items", "n_groups", "min_length", "max_length"):
        for value in (float("nan"), 50.0, "50", True, None, 10**30):
            with pytest.raises(ArgumentError, match=f"^{name}: expected an integer"):
                generate_world(**{name: value})


@pytest.mark.parametrize("mark", ["é", "ab", "\0", "\n", "\ud800"])
def test_a_quotation_mark_is_one_ascii_character(mark: str) -> None:
    from metatoken.data.settings import LogSettings

    with pytest.raises(SettingError, match="quote: expected one ASCII character"):
        LogSettings(path=Path("log.csv"), quote=mark)


def test_initial_vectors_are_numbers(split: Any) -> None:
    from metatoken.tokens.graph.walks import Graph
    from metatoken.tokens.vectors import skipgram

    for initial in ([1, "x"], [[1], [1, 2]], {"a": 1}, 10**59, [[10**400]]):
        with pytest.raises(ArgumentError, match=r"^initial: expected"):
            skipgram.fit(Graph.from_interactions(split.train), dim=4, initial=initial)


def test_a_folder_is_not_searched_where_nothing_of_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metatoken.data import files
    from metatoken.errors import DataError

    for name in (".cache/a.csv", "_old/b.csv", "day=1/c.csv", "day=2/.d.csv", "e.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    looked: list[str] = []
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: looked.append(path.name) or is_file(path))
    assert [one.name for one in files.find_files(tmp_path, [])] == ["c.csv", "e.csv"]
    assert not {"a.csv", "b.csv", ".d.csv"} & set(looked)
    monkeypatch.setattr(files, "MANY", 1)
    with pytest.raises(DataError, match="holds more than 1 files; name those of the table by a pattern"):
        files.find_files(tmp_path, [".csv"])
