"""`metatoken split`, and a run whose split is a cut in time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from metatoken.data import Interactions
from metatoken.run import evaluate_run, load_run, train_run
from metatoken.run.config import load_config
from metatoken.run.folder import RunFolder
from tests.cli.conftest import COLUMNS, Refuse, Run
from tests.files import write_ratings, write_run_config


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    return write_ratings(tmp_path / "ratings.csv", n_users=20)


def test_a_cut_in_time(run: Run, ratings: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    result = run("split", ratings, *COLUMNS, "--rating", "rating", "--by", "time", "-o", out)
    assert result.code == 0, result.err
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "test.parquet", "train.parquet"]
    assert "test: 48 rows, from 2009-12-21T" in result.out
    assert "4 of its 4 users have no earlier row" in result.out
    assert result.out.endswith("to read a part: --time time --rating rating\n")
    given = {"user": "userId", "item": "movieId", "time": "timestamp", "rating": "rating"}
    before = pl.read_csv(ratings).sort("timestamp").head(192)
    found = Interactions.read(out / "train.parquet", time="time", rating="rating")
    assert found.checksum() == Interactions.from_frame(before, **given).checksum()
    again = ("split", ratings, *COLUMNS, "--by", "time", "--validation-from", "50%", "--test-from", "2009-12-21")
    assert run(*again, "-o", out).code == 2
    assert run(*again, "-o", out, "--overwrite").code == 0
    assert len(list(out.iterdir())) == 4


def test_the_last_of_each_history(run: Run, ratings: Path, tmp_path: Path) -> None:
    result = run("split", ratings, *COLUMNS, "--by", "ratio", "--test-share", ".25", "-o", tmp_path / "parts")
    assert result.code == 0, result.err
    assert [pl.read_parquet(tmp_path / f"parts/{part}.parquet").height for part in ("train", "validation", "test")] == [
        160, 20, 60,
    ]  # fmt: skip


def test_parts_lie_apart_from_what_is_read(run: Run, refuse: Refuse, ratings: Path, tmp_path: Path) -> None:
    parts, inner = tmp_path / "parts", tmp_path / "inner" / "parts"
    assert run("split", ratings, *COLUMNS, "--by", "time", "-o", parts).code == 0
    again = ("--user", "user", "--item", "item", "--time", "time", "--by", "time", "--overwrite")
    assert refuse("split", parts, *again, "-o", parts).startswith(f"--out: {parts} holds {parts}, which is read")
    within = refuse("split", tmp_path, *COLUMNS, "--by", "time", "-o", inner)
    assert within.startswith(f"--out: {inner} lies in {tmp_path}, which is read as a whole")
    assert run("split", parts / "train.parquet", *again, "-o", inner).code == 0


def test_what_cannot_be_split(refuse: Refuse, ratings: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "parts")
    assert refuse("split", ratings, *COLUMNS[:4], "--by", "time", *out).startswith("--time: expected the column")
    assert refuse("split", "--by", "ratio", *out).startswith("LOG: expected a file")
    assert refuse("split", ratings, *COLUMNS, "--by", "time", "--test-from", 3, *out).startswith("--test-from: expec")
    inside = refuse("split", ratings, *COLUMNS, "--by", "time", "-o", tmp_path, "--overwrite")
    assert inside.startswith(f"--out: {tmp_path} holds {ratings}, which is read")
    assert "no such file" in refuse("split", tmp_path / "none.csv", *COLUMNS, "--by", "time", *out)
    assert "--by" in refuse("split", ratings, *COLUMNS, *out)


def test_a_run_knows_what_is_new_after_its_cut(tmp_path: Path) -> None:
    """Targets that no training row has are counted, alone and with the others, and the run says where it was cut."""
    path = write_run_config(tmp_path)
    config = yaml.safe_load(path.read_text())
    log = pl.read_csv(config["data"]["path"]).sort("timestamp", maintain_order=True)
    begin = log["timestamp"][int(log.height * 0.8)]
    late = (pl.col("timestamp") >= begin) & (pl.col("item_id").str.slice(-1) < "5")  # half of the items have successors
    new = pl.when(late).then(pl.col("item_id") + "-new").otherwise("item_id")
    log.with_columns(item_id=new).write_csv(config["data"]["path"])
    config["data"]["split"] = {"time": "80%"}
    path.write_text(yaml.safe_dump(config))
    said: list[str] = []
    run = train_run(load_config(path), tmp_path / "run", say=said.append)
    split = run.split
    about = json.loads(RunFolder(run.folder).source.read_text())["split"]
    assert (about["name"], about["test_from"], about["parts"]["test"]["begins"]) == ("time", "80%", begin)
    assert any(line.startswith("test: ") and "of its" in line for line in said)
    raw = np.array(split.log.items.raw)
    new_targets = np.char.endswith(raw[split.test.items], "-new")
    assert 0 < new_targets.sum() < len(new_targets)
    assert not np.char.endswith(raw[np.unique(split.train.frame["item"])], "-new").any()
    assert about["parts"]["test"]["new_items"] >= np.unique(split.test.items[new_targets]).size
    document = evaluate_run(load_run(run.folder), unseen=False)
    assert document["new_targets"] == new_targets.sum()
    share = new_targets.mean()
    for row in document["rows"]:
        for metric in ("hr@10", "ndcg@10"):
            parts = share * row[f"{metric}_new"] + (1 - share) * row[f"{metric}_known"]
            assert row[metric] == pytest.approx(parts)
    popularity = next(row for row in document["rows"] if row["model"] == "popularity")
    assert popularity["hr@10_new"] == 0 < popularity["hr@10_known"]
