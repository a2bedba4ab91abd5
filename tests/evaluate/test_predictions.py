"""Tables of predictions, and the plain files that a script without metatoken scores."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from metatoken.data.interactions import Interactions
from metatoken.data.split import leave_last_out
from metatoken.errors import ArgumentError, ArtifactError, DataError
from metatoken.evaluate.predictions import SCHEMA, export_plain, predictions_frame, read_table, write_table
from metatoken.evaluate.ranking import ranking_metrics
from metatoken.model.heads.top import top_k
from metatoken.predict.transitions import TransitionGraph

LABELS = {"task": "sequential", "template": "seen-0", "split": "test", "model": "fused"}


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    users = np.repeat([f"u{u}" for u in range(40)], 6)
    return leave_last_out(Interactions.from_arrays(users, [f"i{i}" for i in rng.integers(0, 30, 240)]))


@pytest.fixture
def lists(split):
    """Top ten of the transition graph for the test users; one user has nothing, another only three."""
    users, history = split.test.users, split.history("test")
    items, scores = top_k(TransitionGraph.fit(split.train).scores(history, users), history.take(users), 10)
    items[3] = -1
    items[5, 3:] = -1
    return items, scores


def frame_of(data, lists, **labels):
    return predictions_frame(data.log, data.test.users, *lists, **(LABELS | labels))


def test_frame_has_raw_ids_and_ranks_from_one(split, lists):
    frame = frame_of(split, lists)
    items, scores = lists
    assert frame.schema == SCHEMA
    rows = iter(frame.iter_rows(named=True))
    for place, user in enumerate(split.test.users):
        for rank, (item, score) in enumerate(zip(items[place], scores[place], strict=True), start=1):
            if item >= 0:
                expected = {"user": split.log.users.raw[user], "item": split.log.items.raw[item]}
                assert next(rows) == LABELS | expected | {"rank": rank, "score": score}
    assert next(rows, None) is None


def test_rows_that_are_no_item_are_left_out_and_ranks_stay(split):
    items = np.array([[split.log.n_items, 2, -1, 1, -5]], dtype=np.int32)
    frame = predictions_frame(split.log, split.test.users[:1], items, np.zeros((1, 5), np.float32), **LABELS)
    assert frame["rank"].to_list() == [2, 4]
    assert frame["item"].to_list() == [split.log.items.raw[2], split.log.items.raw[1]]


def test_frame_of_nobody(split):
    nobody = np.zeros((0, 10))
    frame = predictions_frame(
        split.log, np.zeros(0, np.int32), nobody.astype(np.int32), nobody.astype(np.float32), **LABELS
    )
    assert frame.height == 0
    assert frame.schema == SCHEMA


def test_frame_refuses_shapes_that_do_not_fit(split, lists):
    items, scores = lists
    for wrong in ((items[:1], scores), (items, scores[:, :1]), (items[0], scores[0])):
        with pytest.raises(ArgumentError, match="expected shapes"):
            frame_of(split, wrong)


def test_round_trip(split, lists, tmp_path):
    frame = pl.concat([frame_of(split, lists), frame_of(split, lists, model="popularity")])
    path = tmp_path / "run" / "predictions.parquet"
    write_table(frame, path)
    assert read_table(path).equals(frame)
    assert [file.name for file in path.parent.iterdir()] == ["predictions.parquet"]


def test_write_and_read_refuse_other_tables(tmp_path):
    with pytest.raises(ArgumentError, match="columns"):
        write_table(pl.DataFrame({"user": ["u"]}), tmp_path / "p.parquet")
    assert list(tmp_path.iterdir()) == []
    pl.DataFrame({"user": ["u"]}).write_parquet(tmp_path / "other.parquet")
    for name in ("other.parquet", "missing.parquet"):
        with pytest.raises(ArtifactError):
            read_table(tmp_path / name)


def test_plain_files_hold_what_they_say(split, lists, tmp_path):
    other = frame_of(split, lists, split="validation", model="not-exported")
    files = export_plain(pl.concat([frame_of(split, lists), other]), split, tmp_path)
    assert files == [tmp_path / "sequential.seen-0.fused.tsv"]
    assert {file.name for file in tmp_path.iterdir()} == {
        "truth.tsv",
        "history.txt",
        "catalogue.txt",
        "sequential.seen-0.fused.tsv",
    }
    log, history = split.log, split.history("test")
    truth = dict(line.split("\t") for line in (tmp_path / "truth.tsv").read_text().splitlines())
    seen = {line.split()[0]: line.split()[1:] for line in (tmp_path / "history.txt").read_text().splitlines()}
    for user, item in zip(split.test.users, split.test.items, strict=True):
        assert truth[log.users.raw[user]] == log.items.raw[item]
        assert seen[log.users.raw[user]] == [log.items.raw[i] for i in history[user]]
    assert len(truth) == len(split.test)
    assert (tmp_path / "catalogue.txt").read_text().splitlines() == list(log.items.raw)
    first = files[0].read_text().splitlines()[0].split("\t")
    assert first == [log.users.raw[0], "1", log.items.raw[lists[0][0, 0]]]


def test_export_names_a_file_for_each_task_template_and_model(split, lists, tmp_path):
    frames = [
        frame_of(split, lists, task=task, model=model)
        for task in ("direct", "sequential")
        for model in ("popularity", "fused")
    ]
    names = [file.name for file in export_plain(pl.concat(frames), split, tmp_path)]
    assert names == [f"{t}.seen-0.{m}.tsv" for t in ("direct", "sequential") for m in ("fused", "popularity")]


def test_export_leaves_no_file_of_an_earlier_one(split, lists, tmp_path):
    export_plain(frame_of(split, lists, task="sequential", template="seq-unseen"), split, tmp_path)
    for own in ("notes.tsv", "a.b.c.tsv"):
        (tmp_path / own).write_text("mine")
    export_plain(frame_of(split, lists, task="sequential", template="seq-1"), split, tmp_path)
    found = {path.name for path in tmp_path.glob("*.tsv")}
    assert {name for name in found if name.startswith("sequential.")} == {"sequential.seq-1.fused.tsv"}
    assert {"notes.tsv", "a.b.c.tsv"} <= found


@pytest.mark.parametrize("names", [["history.txt"], ["catalogue.txt", "sequential.my.own.tsv"], ["truth.tsv"]])
def test_export_keeps_somebodys_own_files_of_its_names(names, split, lists, tmp_path):
    frame = frame_of(split, lists)
    for name in names:
        (tmp_path / name).write_text("mine\n")
    with pytest.raises(ArgumentError, match=r"holds .*, which no export has written there"):
        export_plain(frame, split, tmp_path)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == dict.fromkeys(names, "mine\n")


def test_export_goes_on_with_one_that_was_killed_beside_other_files(split, lists, tmp_path):
    frame = frame_of(split, lists)
    (tmp_path / "notes.txt").write_text("mine")
    export_plain(frame, split, tmp_path)
    (tmp_path / "truth.tsv").unlink()
    (tmp_path / ".metatoken-0123456789ab").mkdir()  # of the writer that was killed
    export_plain(frame, split, tmp_path)
    assert (tmp_path / "truth.tsv").is_file()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / ".metatoken-0123456789ab").exists()


def test_export_refuses_a_file_for_a_folder(split, lists, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArgumentError, match="is a file"):
        export_plain(frame_of(split, lists), split, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("user", "item"), [("a b", "x"), ("a", "x\ty"), ("a", "x\ny"), ("a\u00a0b", "x")])
def test_export_refuses_white_space_in_ids(user, item, tmp_path):
    log = Interactions.from_frame(pl.DataFrame({"user": [user] * 3, "item": [item, "one", "two"]}))
    split = leave_last_out(log)
    with pytest.raises(DataError, match="white space"):
        export_plain(pl.DataFrame(schema=SCHEMA), split, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_refuses_a_model_name_that_leaves_the_folder(split, lists, tmp_path):
    with pytest.raises(ArgumentError, match="file name"):
        export_plain(frame_of(split, lists, model="a/b"), split, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shared_data
def test_the_independent_script_finds_the_same_metrics(shared_data, tmp_path):
    split = leave_last_out(Interactions.read(shared_data / "lastfm" / "user_sequence.txt", format="sequences"))
    users, history = split.test.users, split.history("test")
    items, scores = top_k(TransitionGraph.fit(split.train).scores(history, users), history.take(users), 10)
    items[::7] = -1  # users without recommendations are misses there, too
    (file,) = export_plain(frame_of(split, (items, scores)), split, tmp_path)
    script = shared_data.parent / "tools" / "score_recommendations.py"
    extra = ["--history", tmp_path / "history.txt", "--catalogue", tmp_path / "catalogue.txt"]
    command = [sys.executable, script, tmp_path / "truth.tsv", file, *extra]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    metrics = ranking_metrics(items, split.test.items, split.log.n_items)
    assert metrics["hr@10"] > 0.04
    for k in (5, 10):
        assert found[f"HR@{k}"] == f"{metrics[f'hr@{k}']:.6f}"
        assert found[f"NDCG@{k}"] == f"{metrics[f'ndcg@{k}']:.6f}"
    assert int(found["users"]) == len(users)
    assert int(found["users_with_predictions"]) == len(users) - len(users[::7])
    assert found["already_seen"] == found["not_in_catalogue"] == "0"
