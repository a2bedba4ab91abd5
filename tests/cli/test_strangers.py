"""What strangers stumbled over: an error says what they could have known only from the documentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken import Interactions, Recommender, Vocabulary, leave_last_out
from metatoken.cli.errors import as_option
from metatoken.data.growth import append
from metatoken.data.guess import guess_log
from metatoken.data.ids import IdMap
from metatoken.errors import ArgumentError, ConditionError, ConfigError, DataError, UnknownIdError
from metatoken.model.backbone.pretrained import check_source
from metatoken.recommend.source import unknown_id
from metatoken.run import train_run
from metatoken.run.config import load_config
from metatoken.tokens.codes.clustering import Codebook
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun

ITEMS = IdMap(["0012", "c,523", 'x"1"'], "item")


@pytest.mark.parametrize(
    ("raw", "typed", "said"),
    [
        ("c", ["c,523"], "'c,523' is one, which a line of CSV has in quotation marks: '\"c,523\"'"),
        ("x1", ['x"1"'], '\'"x""1"""\''),
        ("12", ["12"], "did you mean '0012'?"),
        ("c", ["c,5"], "item 'c' is not among the 3 known items"),
    ],
)
def test_an_unknown_id_is_told_with_the_one_that_is_meant(raw: str, typed: list[str], said: str) -> None:
    assert str(unknown_id(ITEMS, raw, typed)).endswith(said)


def test_the_command_asks_for_the_id_that_lost_its_zeros(refuse: Refuse, trained_run: TrainedRun) -> None:
    known = trained_run.run.split.log.users.raw[0]
    said = refuse("recommend", trained_run.run.folder, "--user", f"0{known}")
    assert said.endswith(f"did you mean {known!r}?")
    assert refuse("recommend", trained_run.run.folder, "--user", known, "-o", "x.xlsx").startswith("--out: expected a")
    assert "; nothing is there" in refuse("recommend", "rum", "--user", known)


def test_errors_name_options_of_the_command() -> None:
    error = ArgumentError("out", "expected a name")
    assert str(as_option(error, {"out": ("-o", "--out")})) == "--out: expected a name"
    for other in (ArgumentError("k", "expected"), ConditionError("expected", 3)):
        assert as_option(other, {"out": ("-o", "--out"), "where": ("--where",)}) is other
    assert as_option(error, {"out": ("out",)}) is error  # an argument that has no name to type


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("--epochs", "trainer.max_epochs"),
        ("--batch-size", "trainer.batch_size"),
        ("--backbone", "model.backbone"),
        ("--seed", "seed"),
        ("--learning-rate", None),  # of tokens or of the model?
    ],
)
def test_a_key_that_is_taken_for_an_option(option: str, key: str | None, refuse: Refuse) -> None:
    said = refuse("train", "config.yaml", option, "3")
    assert (f"--set {key}=..." if key else f"No such option: {option} (see") in said
    assert "=..." not in refuse("evaluate", "run", option, "3")  # which has no such keys


def test_a_log_is_no_configuration(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\na,b\n")
    assert f"metatoken inspect {tmp_path / 'log.csv'} --write config.yaml" in refuse("train", tmp_path / "log.csv")


@pytest.mark.parametrize("command", ["inspect", "tokenize"])
def test_an_address_is_no_path(command: str, refuse: Refuse) -> None:
    out = ("--user", "u", "--item", "i") if command == "inspect" else ("-o", "x")
    said = refuse(command, "postgresql://me:secret@db/shop", *out)
    assert "--uri and --query" in said
    assert "secret" not in said


def test_an_export_has_one_folder(refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    folder = trained_run.run.folder
    assert refuse("export", folder).startswith("--out: expected a folder to write, once; got none")
    assert refuse("export", folder, tmp_path / "a", "-o", tmp_path / "b").endswith("got two")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt2-presett", "did you mean 'gpt2-preset'?"),
        ("smollm2-135M", "did you mean 'smollm2-135m'?"),
        ("/no/such/model", "is no folder that is there"),
        ("./model", "is no folder that is there"),
        ("a/b/c", "is no folder that is there"),
    ],
)
def test_a_backbone_that_is_not_there_is_refused_before_anything_else(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{path: absent.csv}}\nmodel: {{backbone: {name}}}\n")
    with pytest.raises(ConfigError, match=r"model\.backbone: expected gpt2-preset") as refused:
        train_run(load_config(tmp_path / "c.yaml"), tmp_path / "run", say=_fail)
    assert str(refused.value).endswith(said)


def test_names_of_the_hub_are_not_taken_for_slips(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(name: str) -> Any:
        asked.append(name)
        raise OSError("nobody answers")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", answer)
    names = ["gpt2", "gpt2-medium", "t5-base", "t5-large", "Qwen/Qwen3-0.6B", "me/gpt2-presett"]
    for name in names:
        with pytest.raises(ConfigError, match="nobody answers"):
            check_source(name)
    check_source("gpt2-preset")
    assert asked == names


def test_a_machine_without_the_device_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("data: {path: absent.csv}\ntrainer: {accelerator: abacus}\n")
    with pytest.raises(ConfigError, match="trainer: Lightning refuses"):
        train_run(load_config(tmp_path / "c.yaml"), tmp_path / "run", say=_fail)


def _fail(line: str) -> None:
    raise AssertionError(line)


Ask = Callable[[Recommender], Any]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda one: one.recommend("1", k="2"), "k: expected an integer of at least 1, got '2'"),
        (lambda one: one.recommend("1", k=2.0), "k: expected an integer of at least 1, got 2.0"),
        (lambda one: one.recommend("1", k=True), "k: expected an integer of at least 1, got True"),
        (lambda one: one.recommend(history="1,2"), "history: expected a list of ids of items, got '1,2'"),
        (lambda one: one.recommend(history=7), "history: expected a list of ids of items, got 7"),
        (lambda one: one.recommend("1", allow="2"), "allow: expected a list of ids of items, got '2'"),
        (lambda one: one.recommend("1", deny=b"2"), "deny: expected a list of ids of items, got b'2'"),
        (lambda one: one.recommend_many(None), "users: expected a list of ids of users, got None"),
        (lambda one: one.recommend_many("17"), "users: expected a list of ids of users, got '17'"),
        (lambda one: one.recommend_many(["1"], batch_size=0), "batch_size: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_types_are_told_with_their_argument(ask: Ask, said: str, recommender: Recommender) -> None:
    with pytest.raises(ArgumentError) as refused:
        ask(recommender)
    assert str(refused.value) == said


@pytest.fixture(scope="module")
def recommender(trained_run: TrainedRun) -> Recommender:
    return Recommender(trained_run.run.module, trained_run.run.split.log)


def test_one_id_is_no_list_of_them(recommender: Recommender) -> None:
    with pytest.raises(TypeError, match=r"^user: expected one id, which is text, got \['1', '2'\]"):
        recommender.recommend(["1", "2"])  # type: ignore[arg-type]
    with pytest.raises(UnknownIdError, match=r"ids are strings, try '12'"):
        recommender.recommend(history=[12])  # type: ignore[list-item]
    items = recommender.history.items.raw[:3]
    told = [recommender.recommend(history=ids, k=3) for ids in (list(items), iter(items))]  # type: ignore[arg-type]
    assert told[0] == told[1]
    user = recommender.history.users.raw[0]
    assert recommender.recommend(user, deny=None) == recommender.recommend(user)  # type: ignore[arg-type]


def test_objects_of_another_class_are_named(recommender: Recommender) -> None:
    log, module = recommender.history, recommender.module
    calls: dict[str, Callable[[], Any]] = {
        "request": lambda: recommender.answer([{"user": "1"}]),  # type: ignore[list-item]
        "history": lambda: Recommender(module, leave_last_out(log)),  # type: ignore[arg-type]
        "titles": lambda: Interactions.from_arrays(["u"], ["a"], titles=["A"]),  # type: ignore[arg-type]
        "embeddings": lambda: Vocabulary.fit(log, embeddings=np.zeros((2, 3))),  # type: ignore[arg-type]
        "sequences": lambda: module.vocabulary.user_codes_of([[0]]),  # type: ignore[arg-type]
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^{name}: expected [A-Z]"):
            call()


def test_what_is_printed_is_short(recommender: Recommender, trained_run: TrainedRun) -> None:
    log = recommender.history
    assert repr(recommender) == f"Recommender(gpt2-preset, {log.n_users:,} users, {log.n_items:,} items)"
    codebook = trained_run.run.module.vocabulary.codebook
    assert isinstance(codebook, Codebook)
    assert repr(codebook).startswith("Codebook(residual, euclidean, ")
    split = leave_last_out(log)
    assert repr(split).startswith(f"Split(leave-last-out, {len(split.train):,} train, ")
    assert len(repr(split)) < 200


def test_a_filter_says_how_truth_is_asked(recommender: Recommender) -> None:
    for text in ("`in stock`", "`in stock` and price < 3", "not (`in stock`)"):
        with pytest.raises(ConditionError, match=r"whether it is true is asked by `in stock` == true$"):
            recommender.catalogue.parse(text)
    with pytest.raises(ConditionError, match=r"got 'like'$"):
        recommender.catalogue.parse("title like 3")


def test_a_table_with_the_ids_of_the_log_stands_beside_it(tmp_path: Path) -> None:
    pl.DataFrame({"Kunde": ["a", "b", "a"], "Artikel-Nr.": ["1", "2", "2"]}).write_csv(tmp_path / "log.csv")
    columns = {"Artikel-Nr.": ["1", "2"], "Farbe": ["rot", "rot"], "Bezeichnung": ["Rotes Zelt", "Rote Lampe"]}
    pl.DataFrame(columns).write_csv(tmp_path / "artikel.csv")
    found = guess_log({"path": tmp_path / "log.csv"})
    assert found.settings["items"] == tmp_path / "artikel.csv"
    assert found.settings["title"] == "Bezeichnung"
    assert "item_id" not in found.settings
    pl.DataFrame(columns).drop("Bezeichnung").write_csv(tmp_path / "artikel.csv")  # colours are no titles
    assert "items" not in guess_log({"path": tmp_path / "log.csv"}).settings


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1709287200, 1709290800], r"\(2024-03-01T11:00:00Z, theirs begin at 2024-03-01T10:00:00Z\)"),
        ([1709287200, 1709290800], "--set since=2024-03-01T11:00:01Z takes what came later"),
        ([3, 9], r"\(9, theirs begin at 3\).*--set since=10 takes"),
    ],
)
def test_rows_that_are_known_already_are_told_in_dates(times: list[int], said: str) -> None:
    log = Interactions.from_arrays(["u", "u"], ["a", "b"], times=times)
    with pytest.raises(DataError, match=said):
        append(log, log)


def test_help_of_training_says_where_its_file_comes_from(run: Run) -> None:
    said = " ".join(run("train", "--help").out.replace("│", " ").split())
    assert "`metatoken inspect LOG --write` makes one" in said


def test_a_stranger_is_asked_for_by_a_history(
    refuse: Refuse, recommender: Recommender, trained_run: TrainedRun
) -> None:
    said = "give a history to ask for a stranger"
    assert refuse("recommend", trained_run.run.folder, "--user", "nobody").endswith(said)
    with pytest.raises(UnknownIdError, match=f"user 'nobody' is not among .*; {said}$"):
        Recommender.load(trained_run.run.folder).recommend(user="nobody")


@pytest.mark.parametrize("option", ["--id", "--heldout"])
def test_a_vocabulary_that_is_not_there_is_no_log(refuse: Refuse, tmp_path: Path, option: str) -> None:
    assert refuse("inspect", tmp_path / "rum", option, "7").endswith("is no vocabulary or run; nothing is there")
    (tmp_path / "log.csv").write_text("user,item\na,b\n")
    assert refuse("inspect", tmp_path / "log.csv", option, "7").endswith("and this is a log")
