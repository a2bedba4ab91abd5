"""`tokenize` and `inspect` with graphs of more than interactions, cold ids, and quality of vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoken.artifacts import read_json
from metatoken.data import Interactions, leave_last_out
from metatoken.data.settings import LogSettings
from metatoken.tokens.features import ItemFeatures
from metatoken.tokens.files import attribute_links
from metatoken.tokens.quality.links import link_auc
from metatoken.tokens.settings import TokenSettings
from metatoken.tokens.vectors.cold import ORIGINS
from metatoken.tokens.vectors.skipgram import Embeddings
from metatoken.tokens.vocabulary import Vocabulary
from tests.cli.conftest import COLUMNS, QUICK, Refuse, Run
from tests.files import write_movies

LEVELS = ("--levels", "8,16")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Item table, and links of users and items, in the folder of the log."""
    write_movies(tmp_path / "movies.csv")
    users = "\n".join(f"{u + 1},{'even' if u % 2 else 'odd'}" for u in range(60))
    (tmp_path / "users.csv").write_text(f"userId,taste\n{users}\n")
    (tmp_path / "makers.txt").write_text("\n".join(f"{i + 1} maker-{i % 5}" for i in range(40)))
    return tmp_path


def test_attributes_weights_and_paths_from_the_command_line(run: Run, ratings: Path, files: Path) -> None:
    result = run(
        "tokenize", ratings, *COLUMNS, *QUICK, *LEVELS, "-o", files / "v", "--items", files / "movies.csv",
        "--attribute", "genre=genres", "--item-links", f"maker={files / 'makers.txt'}",
        "--user-links", f"taste={files / 'users.csv'}:userId:taste",
        "--meta-path", "user-item-user", "--meta-path", "item-genre-item share=0.5",
        "--meta-path", "item-maker-item", "--meta-path", "user-taste-user restart=0.3", "--meta-path", "item>item",
        "--edge-weights", "position", "--half-life", "5", "--restart", "0.1",
    )  # fmt: skip
    assert result.code == 0, result.err
    settings = read_json(files / "v" / "manifest.json")["settings"]
    assert settings["attributes"]["taste"] == {"kind": "user", "links": 60, "values": 2}
    assert settings["attributes"]["genre"]["values"] == 3
    assert settings["attributes"]["maker"] == {"kind": "item", "links": 40, "values": 5}
    assert (settings["edge_weights"], settings["half_life"], settings["restart"]) == ("position", 5.0, 0.1)
    assert settings["meta_paths"][1] == "item-genre-item share=0.5"


def test_yaml_says_the_same(run: Run, ratings: Path, files: Path) -> None:
    tokens = TokenSettings.read(
        {"levels": [8, 16], "dim": 8, "walks_per_node": 2, "walk_length": 8, "attributes": {"genre": "genres"},
         "item_links": {"maker": str(files / "makers.txt")}, "meta_paths": ["item-genre-item", "item-maker-item"],
         "cold": "neighbours", "min_edges": 2}
    )  # fmt: skip
    log = Interactions.read(
        ratings, user="userId", item="movieId", time="timestamp", items=files / "movies.csv", item_id="movieId"
    )
    links = attribute_links(
        tokens, log, LogSettings(path=files / "ratings.csv", item="movieId", items=files / "movies.csv")
    )
    train = leave_last_out(log).train
    Vocabulary.fit(train, tokens, attributes=links, source=log.checksum()).save(files / "a")
    result = run(
        "tokenize", ratings, *COLUMNS, *QUICK, *LEVELS, "-o", files / "b", "--items", files / "movies.csv",
        "--attribute", "genre=genres", "--item-links", f"maker={files / 'makers.txt'}",
        "--meta-path", "item-genre-item", "--meta-path", "item-maker-item", "--cold", "neighbours", "--min-edges", "2",
    )  # fmt: skip
    assert result.code == 0, result.err
    for name in ("entities.parquet", "vectors.safetensors"):
        assert (files / "a" / name).read_bytes() == (files / "b" / name).read_bytes()


@pytest.fixture
def gaps(tmp_path: Path) -> Path:
    """A log where item `new` is held out only, and features of all items."""
    lines = ["user,item"] + [f"u{u},i{(u * 3 + k) % 12}" for u in range(20) for k in range(6)]
    (tmp_path / "log.csv").write_text("\n".join([*lines, "u0,new"]))
    rng = np.random.default_rng(0)
    ids = [f"i{k}" for k in range(12)] + ["new", "unknown"]
    vectors = pl.Series(rng.normal(size=(14, 3)).tolist(), dtype=pl.List(pl.Float32))
    np.save(tmp_path / "x.npy", np.array(vectors.to_list(), np.float32))
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    ItemFeatures(ids, np.array(vectors.to_list(), np.float32)).save(tmp_path / "folder")
    pl.DataFrame({"item": ids, "vector": vectors}).write_parquet(tmp_path / "features.parquet")
    (tmp_path / "makers.tsv").write_text("item\tmaker\n" + "\n".join(f"{i}\tm{k % 3}" for k, i in enumerate(ids)))
    return tmp_path / "log.csv"


@pytest.mark.parametrize(
    ("options", "origin", "words"),
    [
        ((), "none", "1 from the mean of all"),
        (("--cold", "neighbours", "--item-links", "maker={}/makers.tsv"), "neighbours", "1 from their neighbours"),
        (("--item-features", "{}/features.parquet"), "features", "1 from their features"),
        (("--item-features", "{}/features.parquet:item:vector"), "features", "1 from their features"),
        (("--item-features", "{0}/x.npy:{0}/ids.txt"), "features", "1 from their features"),
        (("--item-features", "{}/folder"), "features", "1 from their features"),
    ],
)
def test_cold_ids_are_told_and_marked(run: Run, gaps: Path, options: tuple, origin: str, words: str) -> None:
    place = gaps.parent / "v"
    given = [option.format(gaps.parent) for option in options]
    result = run("tokenize", gaps, *QUICK, "--levels", "4,16", "-o", place, *given)
    assert result.code == 0, result.err
    assert f"warning: 1 items have no vector of their own, for want of training edges: {words}" in result.err
    vocabulary = Vocabulary.load(place)
    assert ORIGINS[vocabulary.origins[vocabulary.n_users + vocabulary.items.row("new")]] == origin
    shown = run("inspect", place, "--id", "new")
    assert f"(vector: {origin})" in shown.out
    assert ("mean of all" in shown.err) == (origin == "none")
    report = json.loads(run("inspect", place, "--id", "new", "--json").out)
    assert report["origin"] == origin
    near = json.loads(run("inspect", place, "--id", "i3", "-k", "99", "--json").out)["neighbours"]
    assert [n["origin"] for n in near if n["id"] == "new"] == ([] if origin == "none" else [origin])
    assert json.loads(run("inspect", place, "--json").out)["vectors"]["items"] == {"walked": 12, origin: 1}


def test_sessions_need_no_users(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sessions = [" ".join(f"i{k}" for k in rng.integers(0, 15, rng.integers(1, 7))) for _ in range(80)]
    (tmp_path / "log.txt").write_text("\n".join(sessions))
    options = ("--format", "sessions", "--kinds", "items", "--meta-path", "item>item restart=0.2")
    result = run("tokenize", tmp_path / "log.txt", *options, *QUICK, *LEVELS, "-o", tmp_path / "v")
    assert result.code == 0, result.err
    assert Vocabulary.load(tmp_path / "v").n_users == 0
    assert "users have no vector" not in result.err


def test_link_auc_and_groups_of_a_vocabulary(run: Run, ratings: Path, vocabulary: Path, files: Path) -> None:
    groups = f"{files / 'movies.csv'}:movieId:genres"
    base = ("inspect", vocabulary, "--log", ratings, *COLUMNS, "--json")
    report = json.loads(run(*base, "--heldout", "validation", "--groups", groups, "-k", "5").out)
    log = Interactions.read(ratings, user="userId", item="movieId", time="timestamp")
    split, loaded = leave_last_out(log), Vocabulary.load(vocabulary)
    made = Embeddings(loaded.vectors, loaded.n_users, loaded.n_items, loaded.trained)
    expected = link_auc(made, split.validation.users, split.validation.items, known=split.train.sequences())
    assert report["link_auc"] == pytest.approx(expected, abs=1e-6)
    assert report["link_auc"] > 0.7
    assert (report["link_pairs"], report["link_pairs_without_vector"]) == (60, 0)
    assert report["same_group_at_5"] > 0.8 > report["same_group_by_chance"]
    held = split.validation
    rows = [f"{log.users.raw[u]},{log.items.raw[i]}" for u, i in zip(held.users, held.items, strict=True)]
    (files / "held.csv").write_text("\n".join(["userId,movieId", *rows, "stranger,1"]))
    from_file = run(*base, "--heldout", files / "held.csv")
    assert json.loads(from_file.out)["link_auc"] == report["link_auc"]
    assert "warning: 1 of 61 held-out pairs are left out" in from_file.err
    sampled = json.loads(run(*base, "--heldout", "validation", "--negatives", "500").out)
    assert sampled["link_auc"] == pytest.approx(expected, abs=0.03)
    shown = run("inspect", vocabulary, "--heldout", files / "held.csv", *COLUMNS)
    assert "training edges count as non-edges" in shown.err
    assert "link auc" in shown.out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--edge-weights", "often"), "edge_weights: expected one of count"),
        (("--attribute", "genre=genres"), "--attribute: are columns of an item table"),
        (("--item-links", "maker"), "--item-links: expected TYPE=FILE"),
        (("--item-links", "maker=a.csv:b"), "--item-links: expected FILE or FILE:IDCOLUMN:COLUMN"),
        (("--item-links", "maker=nowhere.csv"), "nowhere.csv"),
        (("--meta-path", "item-maker-item"), "unknown type 'maker'"),
        (("--restart", "1"), "restart: expected a probability"),
        (("--min-edges", "3"), "it needs cold='neighbours' or features"),
        (("--item-features", "x.csv"), "expected a folder, a .parquet file or FILE.npy:IDS.txt"),
        (("--cold", "warm"), "cold: expected one of none, neighbours, got 'warm'"),
        (("--kinds", "users"), "kinds: expected one of joint, apart, items"),
    ],
)
def test_mistakes_in_the_graph(refuse: Refuse, ratings: Path, tmp_path: Path, options: tuple, reason: str) -> None:
    assert reason in refuse("tokenize", ratings, *COLUMNS, *QUICK, *LEVELS, "-o", tmp_path / "v", *options)


def test_mistakes_in_what_is_measured(refuse: Refuse, vocabulary: Path, ratings: Path, tmp_path: Path) -> None:
    assert "give it with --log" in refuse("inspect", vocabulary, "--heldout", "test")
    assert "--negatives" in refuse("inspect", vocabulary, "--negatives", "3")
    assert "nowhere" in refuse("inspect", vocabulary, "--heldout", tmp_path / "nowhere.csv")
    assert "nowhere" in refuse("inspect", vocabulary, "--groups", tmp_path / "nowhere.csv")
    other = tmp_path / "other.txt"
    other.write_text("a x y z\nb x y z\n")
    options = ("--log", other, "--format", "sequences", "--heldout", "test")
    assert "other users or items" in refuse("inspect", vocabulary, *options)
