"""Evaluated runs side by side, against loops over their lists; small folders stand for runs, since no model is read."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from metatoken.artifacts import read_json, write_json
from metatoken.data import Interactions, Split, leave_last_out
from metatoken.errors import ArgumentError, ArtifactError, MetatokenWarning
from metatoken.evaluate.comparison import name_of
from metatoken.evaluate.metrics import metrics_document
from metatoken.evaluate.predictions import ANSWERS, export_plain, predictions_frame, read_table, write_table
from metatoken.evaluate.ranking import ranking_metrics
from metatoken.evaluate.significance import paired_bootstrap
from metatoken.run import RunFolder, compare_runs, evaluate_run, load_run
from metatoken.run.config import Config, dump_config
from metatoken.run.evaluation import sealed
from tests.conftest import TrainedRun
from tests.oracles import evaluate as oracle

MODELS = {
    ("seq-1", "fused"): 0.5,
    ("seq-1", "item_head"): 0.3,
    ("-", "popularity"): 0.1,
    ("-", "transition_graph"): 0.4,
}
USERS, ITEMS = 60, 20


def make_log(users: int = USERS, seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    items = np.concatenate([rng.permutation(ITEMS)[:5] for _ in range(users)])
    return Interactions.from_arrays([f"u{u:03d}" for u in np.repeat(range(users), 5)], [f"i{i:02d}" for i in items])


def lists_for(split: Split, share: float, rng: np.random.Generator) -> np.ndarray:
    """Lists of ten, of which a share holds the target."""
    lists = np.stack([rng.permutation(ITEMS)[:10] for _ in split.test.items]).astype(np.int32)
    for row, target in zip(lists, split.test.items, strict=True):
        row[row == target] = -1
        if rng.random() < share:
            row[rng.integers(10)] = target
    return lists


def write_run(folder: Path, seed: int = 0, log: Interactions | None = None, **model: Any) -> Path:
    """The folder of a run that was evaluated on the task sequential."""
    log = log or make_log()
    split, at = leave_last_out(log), RunFolder(folder)
    rng = np.random.default_rng([seed, len(str(model))])
    rows, frames = [], []
    for (template, name), share in MODELS.items():
        own = np.random.default_rng(0) if template == "-" else rng  # baselines have no seed
        lists = lists_for(split, share, own)
        labels = {"task": "sequential", "template": template, "model": name}
        rows.append(labels | {"users": len(lists)} | ranking_metrics(lists, split.test.items, log.n_items))
        scores = np.zeros(lists.shape, dtype=np.float32)
        frames.append(predictions_frame(log, split.test.users, lists, scores, split="test", **labels))
    folder.mkdir(parents=True)
    at.config.write_text(dump_config(Config.read({"data": {"path": "log.csv"}, "model": model, "seed": seed})))
    at.write_history(log, texts=False)
    write_table(pl.concat(frames), at.predictions)
    counts = {"users": log.n_users, "items": log.n_items, "interactions": len(log)}
    write_json(at.metrics, metrics_document("leave-last-out", counts, seed, 1.0, rows))
    return folder


@pytest.fixture
def seeds(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path / f"seed-{seed}", seed) for seed in range(3)]


def gains(folder: Path, model: str, metric: str = "ndcg@10") -> np.ndarray:
    """A metric of each user, by a loop over the lists; NDCG@10 or hits among ten."""
    at, split = RunFolder(folder), leave_last_out(make_log())
    lists: dict[str, dict[int, str]] = {}
    for user, rank, item in read_table(at.predictions).filter(model=model).select("user", "rank", "item").iter_rows():
        lists.setdefault(user, {})[rank] = item
    found = []
    for user, target in zip(split.test.users, split.test.items, strict=True):
        mine = lists.get(split.log.users.raw[user], {})
        place = oracle.rank([mine.get(n) for n in range(1, 11)], split.log.items.raw[target])
        found.append((1 / np.log2(place + 1) if metric == "ndcg@10" else 1.0) if place else 0.0)
    return np.array(found)


def row_of(document: dict[str, Any], model: str, group: str = "A", template: str | None = None) -> dict[str, Any]:
    rows = [row for row in document["rows"] if (row["model"], row["group"]) == (model, group)]
    (row,) = [row for row in rows if template in (None, row["template"])]
    return row


def test_means_and_deviations_over_seeds(seeds: list[Path]) -> None:
    document = compare_runs(seeds)
    assert [(group["name"], group["seeds"]) for group in document["groups"]] == [("A", [0, 1, 2])]
    documents = [read_json(RunFolder(folder).metrics)["rows"] for folder in seeds]
    for same in zip(*documents, strict=True):
        found = row_of(document, same[0]["model"])
        assert found["runs"] == 3
        names = {name for name, value in same[0].items() if isinstance(value, float)}
        assert set(found["metrics"]) == names
        for name in names:
            values = [row[name] for row in same]
            assert found["metrics"][name]["mean"] == pytest.approx(np.mean(values))
            assert found["metrics"][name]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert row_of(document, "popularity")["metrics"]["hr@10"]["sd"] == pytest.approx(0, abs=1e-12)
    assert row_of(document, "fused")["metrics"]["hr@10"]["sd"] > 0
    assert document == json.loads(json.dumps(document, allow_nan=False))


def test_one_run_has_no_deviation(seeds: list[Path]) -> None:
    assert {one["sd"] for row in compare_runs(seeds[:1])["rows"] for one in row["metrics"].values()} == {None}


def test_rows_are_set_against_the_best_baseline_user_by_user(seeds: list[Path]) -> None:
    """A user's metric is averaged over the seeds first."""
    document = compare_runs(seeds, resamples=500, seed=3)
    for model in ("fused", "item_head", "popularity"):
        against = row_of(document, model)["against"]
        assert (against["template"], against["model"]) == ("-", "transition_graph")
        for metric in ("ndcg@10", "hr@10"):
            ours = np.mean([gains(folder, model, metric) for folder in seeds], axis=0)
            expected = paired_bootstrap(ours, gains(seeds[0], "transition_graph", metric), 500, seed=3)
            assert against["metrics"][metric] == pytest.approx(vars(expected), abs=1e-12)
    assert "against" not in row_of(document, "transition_graph")
    assert document["between"] == []


def test_any_row_can_be_the_reference(seeds: list[Path]) -> None:
    document = compare_runs(seeds, against="fused", resamples=200)
    assert "against" not in row_of(document, "fused")
    for model in ("item_head", "transition_graph"):
        against = row_of(document, model)["against"]
        assert (against["template"], against["model"]) == ("seq-1", "fused")
        ours, theirs = (np.mean([gains(f, name) for f in seeds], axis=0) for name in (model, "fused"))
        assert against["metrics"]["ndcg@10"]["difference"] == pytest.approx(ours.mean() - theirs.mean())
    with pytest.raises(ArgumentError, match="against: no row is of 'fuse'; did you mean 'fused'"):
        compare_runs(seeds, against="fuse")


def test_two_configurations_stand_side_by_side(tmp_path: Path, seeds: list[Path]) -> None:
    others = [write_run(tmp_path / f"alpha-{seed}", seed, alpha=0.5, leaf=False) for seed in range(2)]
    document = compare_runs([seeds[0], *others, seeds[1]], resamples=300)
    assert [group["runs"] for group in document["groups"]] == [
        [str(folder) for folder in seeds[:2]],
        [str(folder) for folder in others],
    ]
    assert [group["settings"] for group in document["groups"]] == [
        {"model.leaf": True, "model.alpha": 1.0},
        {"model.leaf": False, "model.alpha": 0.5},
    ]
    assert len(document["rows"]) == 2 * len(MODELS)
    for row in document["between"]:
        assert row["groups"] == ["B", "A"]
        ours, theirs = (np.mean([gains(f, row["model"]) for f in group], axis=0) for group in (others, seeds[:2]))
        expected = paired_bootstrap(ours, theirs, 300)
        assert row["metrics"]["ndcg@10"] == pytest.approx(vars(expected), abs=1e-12)
    assert [row["model"] for row in document["between"]] == [model for _, model in MODELS]


def test_the_same_seed_again_is_another_group(tmp_path: Path, seeds: list[Path]) -> None:
    copy = shutil.copytree(seeds[0], tmp_path / "copy")
    document = compare_runs([*seeds, copy])
    assert [group["seeds"] for group in document["groups"]] == [[0, 1, 2], [0]]
    alike = compare_runs([seeds[0], copy])
    assert {one["p"] for row in alike["between"] for one in row["metrics"].values()} == {1.0}


def test_threads_make_no_group(tmp_path: Path, seeds: list[Path]) -> None:
    at = RunFolder(shutil.copytree(seeds[0], tmp_path / "copy"))
    config = Config.read({"data": {"path": "log.csv"}, "seed": 7, "threads": 3})
    at.config.write_text(dump_config(config))
    assert [group["seeds"] for group in compare_runs([*seeds, at.path])["groups"]] == [[0, 1, 2, 7]]


def test_what_was_scored_otherwise_is_another_group(tmp_path: Path, seeds: list[Path]) -> None:
    """Its rows are not averaged with those that were scored as the configuration says."""
    at = RunFolder(shutil.copytree(seeds[1], tmp_path / "copy"))
    writing = Config.read({"data": {"path": "log.csv"}}).evaluate.plain()["writing"]
    changed = {"width": 5, "writing": writing | {"do_sample": True, "consensus": 4}}
    write_json(at.metrics, read_json(at.metrics) | {"settings": changed})
    document = compare_runs([seeds[0], at.path, seeds[2]], resamples=20)
    assert [group["runs"] for group in document["groups"]] == [[str(seeds[0]), str(seeds[2])], [str(at.path)]]
    own, other = (group["settings"] for group in document["groups"])
    assert other == {
        "evaluate.width": 5, "evaluate.writing.do_sample": True, "evaluate.writing.consensus": 4,
    }  # fmt: skip
    assert own == {"evaluate.width": 20, "evaluate.writing.do_sample": False, "evaluate.writing.consensus": 1}
    # Alone it is told, too; and one whose configuration says the same is of its group.
    assert compare_runs([at.path], resamples=20)["groups"][0]["settings"] == other
    same = RunFolder(shutil.copytree(seeds[2], tmp_path / "same"))
    same.config.write_text(dump_config(Config.read({"data": {"path": "log.csv"}, "seed": 2, "evaluate": changed})))
    assert len(compare_runs([at.path, same.path], resamples=20)["groups"]) == 1


@pytest.mark.parametrize("settings", [{"width": 0}, {"beams": 3}, [1], "x", {"writing": None}])
def test_settings_that_are_none_are_refused(settings: Any, tmp_path: Path, seeds: list[Path]) -> None:
    at = RunFolder(shutil.copytree(seeds[1], tmp_path / "copy"))
    write_json(at.metrics, read_json(at.metrics) | {"settings": settings})
    with pytest.raises(ArtifactError, match=r"metrics\.json: is not what `metatoken evaluate` writes"):
        compare_runs([at.path])


def test_rows_that_some_seeds_lack_are_over_the_others(seeds: list[Path]) -> None:
    """As of a baseline that was fitted for one seed alone."""
    for folder in seeds[1:]:
        at = RunFolder(folder)
        document = read_json(at.metrics)
        document["rows"] = [row for row in document["rows"] if row["model"] != "transition_graph"]
        write_json(at.metrics, document)
    with pytest.warns(MetatokenWarning, match="has the rows sequential/-/transition_graph; they are over fewer runs"):
        found = compare_runs(seeds)
    assert {row["model"]: row["runs"] for row in found["rows"]} == {
        "fused": 3, "item_head": 3, "popularity": 3, "transition_graph": 1,
    }  # fmt: skip
    ours = np.mean([gains(folder, "fused") for folder in seeds], axis=0)
    difference = row_of(found, "fused")["against"]["metrics"]["ndcg@10"]["difference"]
    assert difference == pytest.approx(ours.mean() - gains(seeds[0], "transition_graph").mean())


def test_what_was_scored_on_something_else_is_refused(tmp_path: Path, seeds: list[Path]) -> None:
    other = write_run(tmp_path / "other", log=make_log(50))
    with pytest.raises(ArgumentError, match=r"seed-0 and .*other were scored on other logs: .*300.*250"):
        compare_runs([seeds[0], other])
    shuffled = write_run(tmp_path / "shuffled", log=make_log(seed=1))
    with pytest.raises(ArgumentError, match=r"other logs, which hold other interactions"):
        compare_runs([seeds[0], shuffled])
    at = RunFolder(seeds[1])
    write_json(at.metrics, read_json(at.metrics) | {"split": "leave-last-out (validation)"})
    with pytest.raises(ArtifactError, match="again"):  # the lists are those of the test items
        compare_runs([at.path])


def test_validation_and_test_are_not_mixed(trained_run: TrainedRun, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained_run.run.folder, tmp_path / "validation"))
    evaluate_run(load_run(copy), "validation", unseen=False)
    assert compare_runs([copy])["split"] == "leave-last-out (validation)"
    with pytest.raises(ArgumentError, match=r"other held-out parts: leave-last-out and leave-last-out \(validation\)"):
        compare_runs([trained_run.run.folder, copy])


def test_what_is_no_evaluated_run_is_refused(tmp_path: Path, seeds: list[Path]) -> None:
    with pytest.raises(ArgumentError, match="at least one"):
        compare_runs([])
    with pytest.raises(ArgumentError, match="given twice"):
        compare_runs([seeds[0], seeds[1], seeds[0] / ".." / "seed-0"])
    with pytest.raises(ArtifactError, match="is not a run folder"):
        compare_runs([tmp_path / "absent"])
    at = RunFolder(seeds[0])
    document = read_json(at.metrics)
    for broken in ([], {"rows": [{}]}, document | {"rows": [{"task": "sequential"}]}):
        write_json(at.metrics, broken)
        with pytest.raises(ArtifactError, match=r"metrics\.json: is not what"):
            compare_runs(seeds)
    at.metrics.unlink()
    with pytest.raises(ArtifactError, match=r"seed-0: has no metrics; run `metatoken evaluate"):
        compare_runs(seeds)


def _first(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document["rows"][0].update(values)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda document: [document],
    "a split that is no text": lambda document: document.update(split=5),
    "rows that are a number": lambda document: document.update(rows=5),
    "rows that are a mapping": lambda document: document.update(rows={"a": 1}),
    "a row that is none": lambda document: document.update(rows=[5]),
    "a task that is a list": _first(task=["x"]),
    "users that are text": _first(users="60"),
    "a metric that is text": _first(**{"ndcg@10": "x"}),
    "a metric that is no number": _first(**{"ndcg@10": math.nan}),
    "a metric that is infinite": _first(**{"coverage@10": math.inf}),
    "a metric that is missing": lambda document: document["rows"][0].pop("hr@5"),
    "sizes that are a number": lambda document: document.update(dataset=5),
    "no sizes": lambda document: document.update(dataset={}),
    "a name that moves the cursor": _first(model="\x1b[2J"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_metrics_that_no_evaluation_writes_are_refused(name: str, seeds: list[Path]) -> None:
    at = RunFolder(seeds[0])
    document = read_json(at.metrics)
    changed = HOSTILE[name](document)
    at.metrics.write_text(json.dumps(changed if isinstance(changed, list) else document))
    with pytest.raises(ArtifactError, match="is not what `metatoken evaluate` writes"):
        compare_runs(seeds)


@pytest.mark.parametrize("rank", [None, -3, 0])
def test_ranks_that_are_none_are_refused(rank: int | None, seeds: list[Path]) -> None:
    at = RunFolder(seeds[0])
    read_table(at.predictions).with_columns(rank=pl.lit(rank, pl.Int32)).write_parquet(at.predictions)
    with pytest.raises(ArtifactError, match=r"is not what metrics\.json was computed from"):
        compare_runs(seeds)


def test_lists_that_are_not_those_of_the_metrics_are_refused(seeds: list[Path]) -> None:
    shutil.copy(RunFolder(seeds[1]).predictions, RunFolder(seeds[0]).predictions)
    with pytest.raises(ArtifactError, match=r"predictions\.parquet: is not what metrics\.json was computed from"):
        compare_runs(seeds)


def test_metrics_and_lists_of_another_run_are_refused(trained_run: TrainedRun, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained_run.run.folder, tmp_path / "copy"))
    assert compare_runs([copy])["rows"]  # a run may be copied
    write_json(copy / "manifest.json", read_json(copy / "manifest.json") | {"backbone": "another"})
    with pytest.raises(ArtifactError, match=r"metrics\.json: was computed from another run"):
        compare_runs([copy])


def test_it_agrees_with_the_column_of_evaluate(trained_run: TrainedRun) -> None:
    document = compare_runs([trained_run.run.folder])
    for row in trained_run.metrics["rows"]:
        (found,) = [one for one in document["rows"] if all(one[k] == row[k] for k in ("task", "template", "model"))]
        versus, against = row.get("vs_best_baseline"), found.get("against")
        assert (versus is None) == (against is None)
        if versus is not None and against is not None:
            tested = against["metrics"]["ndcg@10"]
            assert (versus["model"], versus["p"]) == (against["model"], tested["p"])
            assert row["ndcg@10"] - tested["difference"] == pytest.approx(row["ndcg@10"] / (1 + versus["difference"]))


def test_ratings_are_tested_by_their_squared_errors(answering_run: TrainedRun) -> None:
    at = RunFolder(answering_run.run.folder)
    document, answers = compare_runs([at.path], resamples=400), read_table(at.answers, ANSWERS)
    assert {row["task"] for row in document["rows"]} == {row["task"] for row in answering_run.metrics["rows"]}

    def errors(template: str, model: str) -> np.ndarray:
        own = answers.filter(task="rating", template=template, model=model)
        return np.array([float(a) - float(b) for a, b in own.select("answer", "reference").iter_rows()])

    rows = {
        row["model"]: row for row in document["rows"] if row["task"] == "rating" and row["template"] != "rating-unseen"
    }
    against = rows["rating_head"]["against"]
    baselines = {name: row["metrics"]["rmse"]["mean"] for name, row in rows.items() if row["template"] == "-"}
    assert against["model"] == min(baselines, key=lambda name: baselines[name])
    ours, theirs = errors("rating-1", "rating_head"), errors("-", against["model"])
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        users = rng.integers(len(ours), size=len(ours))
        drawn.append(np.sqrt((ours[users] ** 2).mean()) - np.sqrt((theirs[users] ** 2).mean()))
    tested = against["metrics"]["rmse"]
    assert tested["difference"] == pytest.approx(np.sqrt((ours**2).mean()) - np.sqrt((theirs**2).mean()))
    assert (tested["low"], tested["high"]) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-9)
    assert tested["p"] == pytest.approx(oracle.two_sided(drawn))
    assert against["metrics"]["mae"]["difference"] == pytest.approx(np.abs(ours).mean() - np.abs(theirs).mean())
    texts = [row for row in document["rows"] if row["task"] == "explanation"]
    assert {"bleu4", "rouge1"} <= set(texts[0]["metrics"])
    assert not any("against" in row for row in texts)


def test_pairs_that_differ_between_seeds_are_averaged_but_not_tested(answering_run: TrainedRun, tmp_path: Path) -> None:
    """Which pairs are held out depends on the seed."""
    at = RunFolder(shutil.copytree(answering_run.run.folder, tmp_path / "other"))
    at.config.write_text(dump_config(replace(answering_run.run.config, seed=1)))
    answers = read_table(at.answers, ANSWERS).with_columns(user=pl.col("user") + "x")
    write_table(answers, at.answers)
    document = {name: value for name, value in read_json(at.metrics).items() if name != "checksum"}
    write_json(at.metrics, sealed(document, at, [at.predictions, at.answers]))
    document = compare_runs([answering_run.run.folder, at.path])
    assert len(document["groups"]) == 1
    rated = [row for row in document["rows"] if row["task"] == "rating"]
    assert rated
    assert all(row["metrics"]["rmse"]["sd"] == 0 and "against" not in row for row in rated)
    assert any("against" in row for row in document["rows"] if row["task"] == "sequential")


@pytest.mark.shared_data
def test_an_independent_script_finds_the_same_means(seeds: list[Path], shared_data: Path, tmp_path: Path) -> None:
    script, document = shared_data.parent / "tools" / "score_recommendations.py", compare_runs(seeds)
    split, found = leave_last_out(make_log()), {}
    for folder in seeds:
        plain = tmp_path / "plain" / folder.name
        for path in export_plain(read_table(RunFolder(folder).predictions), split, plain):
            done = subprocess.run(
                [sys.executable, script, plain / "truth.tsv", path], capture_output=True, text=True, check=True
            )
            printed = dict(line.split("\t") for line in done.stdout.splitlines())
            found.setdefault(path.name.split(".")[2], []).append(printed)
    assert set(found) == {model for _, model in MODELS}
    for model, printed in found.items():
        for name in ("hr@5", "ndcg@5", "hr@10", "ndcg@10"):
            values = [float(one[name.upper()]) for one in printed]
            metrics = row_of(document, model)["metrics"][name]
            assert metrics["mean"] == pytest.approx(np.mean(values), abs=1e-6)
            assert metrics["sd"] == pytest.approx(np.std(values, ddof=1), abs=2e-6)


def test_names_of_groups() -> None:
    assert [name_of(n) for n in (0, 1, 25, 26, 27, 51, 52)] == ["A", "B", "Z", "AA", "AB", "AZ", "BA"]
