from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metatoken.tokens.vocabulary import Vocabulary
from tests.cli.conftest import COLUMNS, QUICK, Refuse, Run
from tests.files import write_movies, write_run_config


def test_a_log_becomes_a_vocabulary(run: Run, ratings: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "vocab"
    result = run("tokenize", ratings, *COLUMNS, *QUICK, "--levels", "8,16", "-o", output)
    assert result.code == 0, result.err
    vocabulary = Vocabulary.load(output)
    assert (vocabulary.n_users, vocabulary.n_items, vocabulary.levels) == (60, 40, (8, 16))
    assert vocabulary.vectors.shape == (100, 8)
    assert "8 x 16" in result.out
    assert vocabulary.tokens_of(item="1") in result.out
    assert [path.name for path in output.parent.iterdir()] == ["vocab"]


def test_defaults_choose_the_levels(run: Run, ratings: Path, tmp_path: Path) -> None:
    assert run("tokenize", ratings, *COLUMNS, *QUICK, "-o", tmp_path / "v").code == 0
    assert np.prod(Vocabulary.load(tmp_path / "v").levels) >= 2 * 60


def test_threads_and_row_order_change_no_byte(run: Run, ratings: Path, tmp_path: Path) -> None:
    lines = ratings.read_text().splitlines()
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    for name, log, threads in (("a", ratings, 1), ("b", ratings, 2), ("c", shuffled, 2)):
        result = run("tokenize", log, *COLUMNS, *QUICK, "--threads", threads, "--seed", 3, "-o", tmp_path / name)
        assert result.code == 0, result.err
    files = [path.name for path in (tmp_path / "a").iterdir() if path.name != "manifest.json"]
    assert files
    for file in files:
        content = (tmp_path / "a" / file).read_bytes()
        assert (tmp_path / "b" / file).read_bytes() == content, file
        assert (tmp_path / "c" / file).read_bytes() == content, file


def test_held_out_items_reach_the_tokens_only_when_asked(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"u{user} i{user % 5} i{(user + 1) % 5} i{user + 10} i{user + 40}\n" for user in range(20)))
    for split in ("leave-last-out", "none"):
        result = run("tokenize", log, "--format", "sequences", *QUICK, "--split", split, "-o", tmp_path / split)
        assert result.code == 0, result.err
    kept, everything = Vocabulary.load(tmp_path / "leave-last-out"), Vocabulary.load(tmp_path / "none")
    assert kept.items == everything.items
    rows = [kept.n_users + kept.items.row(f"i{user + 40}") for user in range(20)]
    assert not kept.trained[rows].any()
    assert everything.trained[rows].all()


def test_titles_come_from_the_item_table(run: Run, ratings: Path, tmp_path: Path) -> None:
    movies = write_movies(tmp_path / "movies.csv")
    table = ("--items", movies, "--title", "title", "--categories", "genres")
    assert run("tokenize", ratings, *COLUMNS, *QUICK, *table, "-o", tmp_path / "v").code == 0
    vocabulary = Vocabulary.load(tmp_path / "v")
    assert vocabulary.titles is not None
    assert vocabulary.titles[vocabulary.items.row("7")] == "Film 7"


@pytest.mark.parametrize("form", ["sequences", "pairs", "sessions"])
def test_other_formats(run: Run, form: str, tmp_path: Path) -> None:
    rows = {
        "sequences": [f"u{u} " + " ".join(f"i{(u + s) % 9}" for s in range(5)) for u in range(12)],
        "pairs": [f"u{u} i{(u + s) % 9}" for u in range(12) for s in range(5)],
        "sessions": [" ".join(f"i{(u + s) % 9}" for s in range(5)) for u in range(12)],
    }
    log = tmp_path / "log.txt.gz"
    log.write_bytes(gzip.compress("\n".join(rows[form]).encode()))
    result = run("tokenize", log, "--format", form, *QUICK, "-o", tmp_path / "v")
    assert result.code == 0, result.err
    assert Vocabulary.load(tmp_path / "v").n_items == 9


def test_the_audit_warns_on_stderr(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"u{u} " + " ".join(str(100 + u + s) for s in range(8)) + "\n" for u in range(20)))
    result = run("tokenize", log, "--format", "sequences", *QUICK, "-o", tmp_path / "v")
    assert result.code == 0
    assert any(line.startswith("warning: ") and "sorted" in line for line in result.err.splitlines())


def test_an_output_that_exists_is_kept(run: Run, refuse: Refuse, ratings: Path, tmp_path: Path) -> None:
    command = ("tokenize", ratings, *COLUMNS, *QUICK, "-o", tmp_path / "v")
    (tmp_path / "v").mkdir()
    assert run(*command, "--seed", 1).code == 0  # an empty folder holds nothing to lose
    first = (tmp_path / "v" / "vectors.safetensors").read_bytes()
    assert "--overwrite" in refuse(*command, "--seed", 2)
    assert (tmp_path / "v" / "vectors.safetensors").read_bytes() == first
    assert run(*command, "--seed", 2, "--overwrite").code == 0
    assert (tmp_path / "v" / "vectors.safetensors").read_bytes() != first


def test_overwrite_replaces_only_vocabularies(refuse: Refuse, ratings: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("cat")
    refuse("tokenize", ratings, *COLUMNS, *QUICK, "-o", photos, "--overwrite")
    refuse("tokenize", ratings, *COLUMNS, *QUICK, "-o", ratings, "--overwrite")
    assert (photos / "cat.jpg").read_text() == "cat"


HEAD = "userId,movieId,rating,timestamp"
BROKEN_LOGS = {
    "no such file": (None, "ratings.csv"),
    "empty file": ("", "empty"),
    "header only": (f"{HEAD}\n", ""),
    "missing column": ("userId,film,timestamp\n1,2,3\n", "movieId"),
    "empty user": (f"{HEAD}\n1,2,3.0,4\n,2,3.0,5\n", ":3: "),
    "empty item": (f"{HEAD}\n1,,3.0,4\n1,2,3.0,5\n", ":2: "),
    "bad time": (f"{HEAD}\n1,2,3.0,4\n1,3,3.0,yesterday\n", "yesterday"),
    "bad rating": (f"{HEAD}\n1,2,good,4\n", "good"),
    "ragged row": (f"{HEAD}\n1,2,3.0,4\n1,2\n", ":3: "),
    "binary": (b"\x93NUMPY\x01\x00\xff\xfe\x00", "ratings.csv"),
}


@pytest.mark.parametrize("name", BROKEN_LOGS)
def test_broken_logs(name: str, refuse: Refuse, tmp_path: Path) -> None:
    content, hint = BROKEN_LOGS[name]
    log = tmp_path / "ratings.csv"
    if content is not None:
        log.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refuse("tokenize", log, *COLUMNS, "--rating", "rating", *QUICK, "-o", tmp_path / "v")
    assert "ratings.csv" in line or "movieId" in line
    assert hint in line


@pytest.mark.parametrize("name", ["log.parquet", "log.jsonl", "log.csv.gz"])
def test_a_file_that_is_not_what_its_name_says(name: str, refuse: Refuse, tmp_path: Path) -> None:
    log = tmp_path / name
    log.write_text(f"{HEAD}\n1,2,3.0,4\n")
    assert name in refuse("tokenize", log, *COLUMNS, "-o", tmp_path / "v")


WRONG_OPTIONS = {
    "levels that are no numbers": (("--levels", "8,x"), 'levels: expected "auto" or sizes'),
    "levels over the rows": (("--levels", "1000,8"), "1,000"),
    "too few codes": (("--levels", "2,2"), "levels"),
    "no such method": (("--method", "magic"), "magic"),
    "no such metric": (("--metric", "manhattan"), "manhattan"),
    "no such split": (("--split", "half"), "half"),
    "no such format": (("--format", "xlsx"), "xlsx"),
    "no such meta-path": (("--meta-path", "user-banana-user"), "banana"),
    "no threads": (("--threads", "0"), "threads"),
    "no dimension": (("--dim", "0"), "dim"),
    "negative seed": (("--seed", "-1"), "seed"),
    "no such item table": (("--items", "none.csv"), "none.csv"),
    "ids without embeddings": (("--ids", "ids.txt"), "--embeddings"),
}


@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_wrong_options(name: str, refuse: Refuse, ratings: Path, tmp_path: Path) -> None:
    options, hint = WRONG_OPTIONS[name]
    assert hint in refuse("tokenize", ratings, *COLUMNS, *QUICK, *options, "-o", tmp_path / "v")


def test_neither_log_nor_embeddings(refuse: Refuse, tmp_path: Path) -> None:
    assert "--embeddings" in refuse("tokenize", "-o", tmp_path / "v")
    assert "--embeddings" in refuse("tokenize", "log.csv", "--embeddings", "x.npy", "-o", tmp_path / "v")


def save(path: Path, x: object) -> Path:
    np.save(path, np.asarray(x))
    return path


def test_own_embeddings(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = save(tmp_path / "x.npy", rng.normal(size=(50, 6)))
    ids = tmp_path / "ids.txt"
    ids.write_text("".join(f"item {row}\n" for row in range(50)))
    result = run("tokenize", "--embeddings", x, "--ids", ids, "--levels", "8,16", "-o", tmp_path / "v")
    assert result.code == 0, result.err
    vocabulary = Vocabulary.load(tmp_path / "v")
    assert (vocabulary.n_users, vocabulary.n_items, vocabulary.levels) == (0, 50, (8, 16))
    row = vocabulary.items.row("item 17")
    np.testing.assert_array_equal(vocabulary.vectors[row], np.load(x)[17].astype(np.float32))
    assert run("tokenize", "--embeddings", x, "--levels", "8,16", "-o", tmp_path / "w").code == 0
    assert "49" in Vocabulary.load(tmp_path / "w").items


def write_parquet(path: Path, n: int = 50) -> Path:
    x = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
    pl.DataFrame({"item": [f"B{row}" for row in range(n)], "vector": x}).write_parquet(path)
    return path


def test_own_embeddings_from_parquet_with_titles(run: Run, tmp_path: Path) -> None:
    x = write_parquet(tmp_path / "x.parquet")
    table = tmp_path / "items.csv"
    table.write_text("item_id,title\nB7,Seven\nB8,Eight\nelsewhere,None\n")
    cap = ("--levels", "8,16", "--max-cluster-size", "8")
    result = run("tokenize", "--embeddings", x, "--items", table, *cap, "-o", tmp_path / "v")
    assert result.code == 0, result.err
    vocabulary = Vocabulary.load(tmp_path / "v")
    assert (vocabulary.n_users, vocabulary.n_items) == (0, 50)
    assert vocabulary.titles is not None
    assert [vocabulary.titles[vocabulary.items.row(name)] for name in ("B7", "B8", "B9")] == ["Seven", "Eight", ""]
    assert np.bincount(vocabulary.item_codes[:, 0]).max() <= 8
    assert vocabulary.report["joint"]["largest_cluster"] <= 8
    assert vocabulary.report["joint"]["kernel"] == vocabulary.codebook.report.kernel != ""
    assert vocabulary.codebook.report.max_cluster_size == 8
    inspected = run("inspect", tmp_path / "v")
    assert inspected.code == 0, inspected.err
    assert "memorization, Spearman" not in inspected.out  # there is nothing to compare with
    near = run("inspect", tmp_path / "v", "--id", "B7")
    assert near.out.startswith("item B7 ")


def test_threads_change_no_byte_of_own_embeddings(run: Run, tmp_path: Path) -> None:
    x = write_parquet(tmp_path / "x.parquet")
    for threads in (1, 2, 8):
        command = ("tokenize", "--embeddings", x, "--levels", "4,32", "--threads", threads)
        assert run(*command, "-o", tmp_path / str(threads)).code == 0
    for file in (tmp_path / "1").iterdir():
        for threads in (2, 8):
            assert (tmp_path / str(threads) / file.name).read_bytes() == file.read_bytes(), file.name


WRONG_FILES = {
    "no such id column": (("--item", "asin"), "asin"),
    "no such vector column": (("--vectors", "v"), "vector"),
    "no parquet": (("--embeddings", "y.parquet"), "y.parquet"),
    "cap too small": (("--max-cluster-size", "3"), "--max-cluster-size: "),
    "titles of other items": (("--items", "other.csv"), "other.csv"),
    "vectors of a log": (("--embeddings", "x.npy", "--vectors", "v"), "--vectors"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_own_files_that_do_not_fit(name: str, refuse: Refuse, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "x.parquet")
    save(tmp_path / "x.npy", np.eye(30))
    (tmp_path / "other.csv").write_text("item_id,title\nelsewhere,None\n")
    options, hint = WRONG_FILES[name]
    given = () if "--embeddings" in options else ("--embeddings", "x.parquet")
    assert hint in refuse("tokenize", *given, "--levels", "8,16", *options, "-o", tmp_path / "v")


def test_a_run_needs_users(run: Run, tmp_path: Path) -> None:
    x = write_parquet(tmp_path / "x.parquet")
    assert run("tokenize", "--embeddings", x, "--levels", "8,16", "-o", tmp_path / "v").code == 0
    config = write_run_config(tmp_path)
    result = run("train", config, "--vocabulary", tmp_path / "v", "-o", tmp_path / "run")
    assert result.code == 2
    line = result.err.splitlines()[-1]
    assert "items only" in line


BROKEN_EMBEDDINGS = {
    "NaN": (np.array([[0.0, np.nan], [1.0, 2.0]]), "NaN"),
    "infinite": (np.array([[0.0, np.inf], [1.0, 2.0]]), "inf"),
    "one-dimensional": (np.arange(4.0), "[items, d]"),
    "three-dimensional": (np.zeros((2, 2, 2)), ""),
    "no rows": (np.zeros((0, 4)), ""),
    "no columns": (np.zeros((4, 0)), ""),
    "text": (np.array([["a", "b"]]), ""),
}


@pytest.mark.parametrize("name", BROKEN_EMBEDDINGS)
def test_broken_embeddings(name: str, refuse: Refuse, tmp_path: Path) -> None:
    x, _ = BROKEN_EMBEDDINGS[name]
    assert "x.npy" in refuse("tokenize", "--embeddings", save(tmp_path / "x.npy", x), "-o", tmp_path / "v")


def test_files_that_are_no_arrays(refuse: Refuse, tmp_path: Path) -> None:
    command = ("tokenize", "-o", tmp_path / "v", "--embeddings")
    assert "none.npy" in refuse(*command, tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("1,2,3\n")
    assert "not a .npy file" in refuse(*command, tmp_path / "text.npy")
    (tmp_path / "empty.npy").touch()
    assert "not a .npy file" in refuse(*command, tmp_path / "empty.npy")
    np.savez(tmp_path / "several.npz", x=np.eye(3))
    assert ".npz" in refuse(*command, tmp_path / "several.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "not a .npy file" in refuse(*command, tmp_path / "objects.npy")
    whole = save(tmp_path / "cut.npy", np.eye(64)).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[: len(whole) // 2])
    assert "not a .npy file" in refuse(*command, tmp_path / "cut.npy")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("a\nb\n", "3"), ("a\n\nb\n", ":2: "), ("a\nb\na\n", "a"), (None, "ids.txt"), (b"\xff\xfea", "UTF-8")],
)
def test_ids_that_do_not_fit(text: str | bytes | None, hint: str, refuse: Refuse, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    if text is not None:
        ids.write_bytes(text if isinstance(text, bytes) else text.encode())
    x = save(tmp_path / "x.npy", np.eye(3))
    assert hint in refuse("tokenize", "--embeddings", x, "--ids", ids, "--levels", "2,4", "-o", tmp_path / "v")


def test_more_centroids_than_rows(refuse: Refuse, tmp_path: Path) -> None:
    x = save(tmp_path / "x.npy", np.eye(10))
    assert "256" in refuse("tokenize", "--embeddings", x, "--levels", "256,256", "-o", tmp_path / "v")


def test_the_manifest_names_the_settings(vocabulary: Path) -> None:
    manifest = json.loads((vocabulary / "manifest.json").read_text())
    assert "8" in json.dumps(manifest)
    assert manifest["kind"] == "vocabulary"
