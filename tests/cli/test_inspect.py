from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from metatoken.tokens.vocabulary import Vocabulary
from tests.cli.conftest import COLUMNS, Refuse, Run
from tests.files import flip_byte


def test_tokenize_kept_the_scores(run: Run, vocabulary: Path, ratings: Path) -> None:
    result = run("inspect", vocabulary)
    assert result.code == 0, result.err
    assert "effective rank" in result.out
    assert "level a" in result.out
    saved = json.loads(run("inspect", vocabulary, "--json").out)
    assert saved == json.loads(run("inspect", vocabulary, "--log", ratings, *COLUMNS, "--json").out)


def test_without_a_log_or_saved_scores_there_is_no_memorization(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 4)))
    assert run("tokenize", "--embeddings", tmp_path / "x.npy", "--levels", "4,16", "-o", tmp_path / "v").code == 0
    result = run("inspect", tmp_path / "v")
    assert result.code == 0, result.err
    assert "effective rank" in result.out
    assert "memorization, AUC" not in result.out


def test_scores_with_the_log(run: Run, vocabulary: Path, ratings: Path) -> None:
    result = run("inspect", vocabulary, "--log", ratings, *COLUMNS, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert (report["n_users"], report["n_items"], report["level_sizes"]) == (60, 40, [8, 16])
    assert report["items"]["id_collision_rate"] == 0.0
    # Two taste groups that share no item: even a coarse vocabulary remembers who belongs where.
    assert report["items"]["memorization"]["auc"] > 0.8
    assert [level["tokens"] for level in report["levels"]] == [8, 16]
    shown = run("inspect", vocabulary, "--log", ratings, *COLUMNS).out
    assert f"{report['items']['memorization']['pairs']:,}" in shown


def test_vectors_can_be_scored_instead(run: Run, vocabulary: Path) -> None:
    report = json.loads(run("inspect", vocabulary, "--representation", "vectors", "--json").out)
    assert report["representation"] == "vectors"


@pytest.mark.parametrize("kind", ["item", "user"])
def test_neighbours(kind: str, run: Run, vocabulary: Path) -> None:
    result = run("inspect", vocabulary, "--id", "7", "--kind", kind, "-k", 5, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    loaded = Vocabulary.load(vocabulary)
    ids, first = (loaded.items, loaded.n_users) if kind == "item" else (loaded.users, 0)
    x = loaded.vectors[first : first + len(ids)]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = sorted(((float(unit[n] @ unit[ids.row("7")]), raw) for n, raw in enumerate(ids.raw) if raw != "7"))
    assert [n["id"] for n in report["neighbours"]] == [raw for _, raw in reversed(expected[-5:])]
    assert report["neighbours"][0]["similarity"] == pytest.approx(expected[-1][0], abs=1e-5)
    shown = run("inspect", vocabulary, "--id", "7", "--kind", kind, "-k", 5).out.splitlines()
    assert len(shown) == 6
    assert report["tokens"] in shown[0]
    assert report["neighbours"][0]["tokens"] in shown[1]


def test_k_may_exceed_the_catalogue(run: Run, vocabulary: Path) -> None:
    report = json.loads(run("inspect", vocabulary, "--id", "7", "-k", 1000, "--json").out)
    assert len(report["neighbours"]) == 39


def test_mistakes(refuse: Refuse, vocabulary: Path, tmp_path: Path) -> None:
    assert "nobody" in refuse("inspect", vocabulary, "--id", "nobody")
    assert "nobody" in refuse("inspect", vocabulary, "--id", "nobody", "--kind", "user")
    assert "shop" in refuse("inspect", vocabulary, "--id", "7", "--kind", "shop")
    assert "k: " in refuse("inspect", vocabulary, "--id", "7", "-k", "0")
    assert "words" in refuse("inspect", vocabulary, "--representation", "words")
    assert "nowhere" in refuse("inspect", tmp_path / "nowhere")
    assert "manifest.json" in refuse("inspect", tmp_path)


def test_a_log_of_other_ids(refuse: Refuse, vocabulary: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("stranger x y z w\n")
    refuse("inspect", vocabulary, "--log", log, "--format", "sequences")


FILES = ("manifest.json", "entities.parquet", "codebook.safetensors", "vectors.safetensors", "trie.safetensors")


@pytest.mark.parametrize("file", FILES)
def test_altered_and_missing_files(file: str, refuse: Refuse, vocabulary: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(vocabulary, copy)
    flip_byte(copy / file)
    assert file in refuse("inspect", copy)
    (copy / file).write_text("not what its name says")
    assert file in refuse("inspect", copy)
    (copy / file).unlink()
    assert file in refuse("inspect", copy)
