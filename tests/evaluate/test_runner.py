from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from metatoken.decode.beam import beam_search
from metatoken.evaluate.predictions import export_plain, read_table
from metatoken.evaluate.ranking import ranking_metrics, ranks, user_metrics
from metatoken.evaluate.runner import Result, Runner
from metatoken.evaluate.settings import EvaluateSettings
from metatoken.evaluate.significance import paired_bootstrap
from metatoken.model.heads.ranking import item_scores
from metatoken.model.heads.top import TOLERANCE, settle, top_k
from metatoken.predict.fusion import Fusion, choose_fusion
from metatoken.predict.partners import Partners
from metatoken.predict.prior import Prior
from metatoken.predict.ranker import Reading
from metatoken.predict.transitions import Popularity, TransitionGraph
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_template
from tests.conftest import TrainedRun

MODELS = {
    "sequential": {"item_head", "generation", "generation_leaf_off", "fused"},
    "direct": {"item_head", "generation", "generation_leaf_off"},
}
BASELINES = {"sequential": {"popularity", "transition_graph", "graph_and_categories"}, "direct": {"popularity"}}


@pytest.fixture(scope="module")
def predictions(trained_run: TrainedRun) -> pl.DataFrame:
    return read_table(trained_run.run.folder / "predictions.parquet")


def lists(frame: pl.DataFrame, run: Any) -> np.ndarray:
    """Item rows [users, 10] in the order of the test targets, -1 where a list is shorter."""
    users = {run.split.log.users.raw[row]: place for place, row in enumerate(run.split.test.users)}
    out = np.full((len(users), 10), -1, dtype=np.int32)
    for user, rank, item in frame.select("user", "rank", "item").iter_rows():
        out[users[user], rank - 1] = run.split.log.items.row(item)
    return out


def test_a_row_for_every_model_task_and_template(trained_run: TrainedRun) -> None:
    rows = trained_run.metrics["rows"]
    found = {(row["task"], row["template"], row["model"]) for row in rows}
    expected = {
        (task, template, model)
        for task, short in (("sequential", "seq"), ("direct", "direct"))
        for template in (f"{short}-1", f"{short}-unseen")
        for model in MODELS[task]
    } | {(task, "-", model) for task, models in BASELINES.items() for model in models}
    assert found == expected
    assert len(rows) == len(expected)
    metrics = {"hr@5", "ndcg@5", "mrr@5", "hr@10", "ndcg@10", "mrr@10", "coverage@10", "invalid@10"}
    for row in rows:
        assert set(row) - {"vs_best_baseline"} == metrics | {"model", "task", "template", "users"}
        assert row["users"] == len(trained_run.run.split.test)
        assert row["invalid@10"] == 0


def test_rows_say_how_much_they_beat_the_best_baseline(trained_run: TrainedRun, predictions: pl.DataFrame) -> None:
    run, rows = trained_run.run, trained_run.metrics["rows"]
    parts = predictions.partition_by("task", "template", "model", as_dict=True)

    def gains(row: dict[str, Any]) -> np.ndarray:
        found = lists(parts[row["task"], row["template"], row["model"]], run)
        return user_metrics(ranks(found, run.split.test.items))["ndcg@10"]

    for row in rows:
        baselines = [one for one in rows if one["task"] == row["task"] and one["template"] == "-"]
        best = max(baselines, key=lambda one: one["ndcg@10"])
        if row is best:
            assert "vs_best_baseline" not in row
            continue
        found = row["vs_best_baseline"]
        assert found["model"] == best["model"]
        assert found["difference"] == pytest.approx(row["ndcg@10"] / best["ndcg@10"] - 1)
        assert found["p"] == paired_bootstrap(gains(row), gains(best)).p


def test_predictions_give_the_same_metrics(trained_run: TrainedRun, predictions: pl.DataFrame) -> None:
    run = trained_run.run
    parts = predictions.partition_by("task", "template", "model", as_dict=True)
    assert len(parts) == len(trained_run.metrics["rows"])
    for row in trained_run.metrics["rows"]:
        found = lists(parts[row["task"], row["template"], row["model"]], run)
        metrics = ranking_metrics(found, run.split.test.items, run.split.log.n_items)
        assert metrics == {name: row[name] for name in metrics}


def test_nothing_seen_is_listed(trained_run: TrainedRun, predictions: pl.DataFrame) -> None:
    run = trained_run.run
    history = run.split.history("test")
    raw = run.split.log
    seen = {
        (raw.users.raw[user], raw.items.raw[item]) for user in run.split.test.users for item in history[user].tolist()
    }
    assert seen
    assert not seen & set(predictions.select("user", "item").iter_rows())
    assert predictions["split"].unique().to_list() == ["test"]


def test_rows_are_the_models_own_lists(trained_run: TrainedRun, predictions: pl.DataFrame) -> None:
    """Scored in one batch here, in batches there; the lists must not depend on it."""
    run = trained_run.run
    network, test = run.module.network, run.split.test
    history = run.split.history("test")
    template = find_template("seq-1")
    one = EvaluationBatches(run.module.reader, template, test.users, test.items, history, batch_size=len(test))[0]
    seen = history.take(test.users)
    prior = torch.from_numpy(run.fusion.fit_prior(run.split.train).scores(history, test.users))
    with torch.no_grad():
        item = item_scores(network, one.batch)
        beams = beam_search(network, one.batch, one.seen, k=run.split.log.n_items, width=20).items
        shared = beam_search(network, one.batch, one.seen, k=10, width=20, leaf=False)
        mixed = run.fusion.scores(item, prior)
    generated = torch.zeros_like(item, dtype=torch.bool).scatter(1, beams.clamp_min(0), beams >= 0)
    found = item.masked_fill(~generated, -torch.inf)
    expected = {
        "item_head": top_k(item, seen, 10, tolerance=TOLERANCE, log=True)[0],
        "generation": top_k(found, None, 10, tolerance=TOLERANCE, log=True)[0],
        "generation_leaf_off": settle(shared.items.numpy(), shared.scores.numpy())[0],
        "fused": top_k(mixed, seen, 10, tolerance=TOLERANCE, log=True)[0],
    }
    for model, rows in expected.items():
        here = predictions.filter(model=model, task="sequential", template="seq-1")
        assert (lists(here, run) == rows).mean() > 0.999, model


def test_baselines_learn_from_train_alone(trained_run: TrainedRun, predictions: pl.DataFrame) -> None:
    run = trained_run.run
    history, users = run.split.history("test"), run.split.test.users
    train, share = run.split.train, run.fusion.content
    assert share > 0
    fitted = {
        "popularity": Popularity.fit(train),
        "transition_graph": TransitionGraph.fit(train),
        "graph_and_categories": Prior.fit(train, share),
    }
    for name, ranker in fitted.items():
        expected, _ = top_k(ranker.scores(history, users), history.take(users), 10)
        assert np.array_equal(lists(predictions.filter(model=name, task="sequential"), run), expected)


def test_fusion_beats_its_parts_where_it_was_chosen(trained_run: TrainedRun) -> None:
    run = trained_run.run
    rows = Runner(run.module, run.split, "validation").run(run.fusion, unseen=False).rows
    shown = ("fused", "item_head", "transition_graph")
    best = {row["model"]: row for row in rows if row["task"] == "sequential" and row["model"] in shown}
    fused = best.pop("fused")
    assert fused is not None
    assert fused["ndcg@10"] >= max(row["ndcg@10"] for row in best.values() if row) - 1e-9


@pytest.mark.parametrize(("prior", "content"), [(0.5, 0.0), (1.0, 0.0), (0.75, 0.05), (0.5, 0.25), (1.0, 0.5)])
def test_no_other_weights_and_share_make_better_lists(trained_run: TrainedRun, prior: float, content: float) -> None:
    run = trained_run.run

    def fused(fusion: Fusion) -> float:
        rows = Runner(run.module, run.split, "validation").run(fusion, unseen=False).rows
        return next(row["ndcg@10"] for row in rows if row["model"] == "fused" and row["task"] == "sequential")

    assert fused(run.fusion) >= fused(Fusion(1 - prior, 0.0, prior, content=content)) - 1e-4


def test_fusion_weights_are_drawn_once(trained_run: TrainedRun) -> None:
    run = trained_run.run
    assert choose_fusion(run.module, run.split, batch_size=7) == run.fusion
    few = choose_fusion(run.module, run.split, limit=20, seed=3)
    assert few.users == 20
    assert few == choose_fusion(run.module, run.split, limit=20, seed=3)


def test_without_the_sequential_task_nothing_is_fused(make_module: Any, split: Any) -> None:
    module = make_module(tasks=["direct"])
    assert choose_fusion(module, split) == Fusion(1.0, 0.0, 0.0)
    runner = Runner(module, split, "validation")
    models = {row["model"] for row in runner.run(Fusion(1.0, 0.0, 0.0), unseen=False).rows}
    assert models == MODELS["direct"] | BASELINES["direct"]


def test_without_leaves_there_is_no_second_generation(make_module: Any, split: Any) -> None:
    result = Runner(make_module(leaf=False, tasks=["sequential"]), split).run(Fusion(), unseen=False)
    counted = BASELINES["sequential"] - {"graph_and_categories"}  # which has no share in this fusion
    assert {row["model"] for row in result.rows} == {"item_head", "generation", "fused", *counted}


def test_progress_counts_to_the_end(trained_run: TrainedRun) -> None:
    run, calls = trained_run.run, []
    Runner(
        run.module,
        run.split,
        settings=EvaluateSettings(batch_size=30),
        progress=lambda done, total: calls.append((done, total)),
    ).run(run.fusion, unseen=False)
    assert calls == [(n, 6) for n in range(1, 7)]


def test_partners_and_prior_are_asked_once_a_batch_whatever_the_number_of_templates(
    make_module: Any, split: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(make_module(), split, settings=EvaluateSettings(batch_size=50), partners=[make_module(seed=1)])
    asked: dict[type, list[np.ndarray]] = {Partners: [], Prior: []}
    for kind, calls in asked.items():

        def counted(told: Any, history: Any, users: Any, whole: Any = kind.scores, calls: Any = calls) -> Any:
            calls.append(users)
            return whole(told, history, users)

        monkeypatch.setattr(kind, "scores", counted)
    fused = [row["template"] for row in runner.run(Fusion()).rows if row["model"] == "fused"]
    assert len(fused) == len(set(fused)) > 1
    for calls in asked.values():
        assert max(map(len, calls)) == 50
        assert np.array_equal(np.concatenate(calls), runner.targets.users)


def test_the_mode_of_the_model_is_given_back(make_module: Any, split: Any) -> None:
    module = make_module(tasks=["direct"]).train()
    result = Runner(module, split).run(Fusion(), unseen=False)
    assert module.training
    assert torch.is_grad_enabled()
    assert isinstance(result, Result)


def test_the_mode_is_given_back_though_it_is_interrupted(make_module: Any, split: Any) -> None:
    def interrupted(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    module = make_module(tasks=["direct"]).train()
    with pytest.raises(KeyboardInterrupt):
        Runner(module, split, progress=interrupted).run(Fusion(), unseen=False)
    assert module.training
    assert torch.is_grad_enabled()


def test_generated_items_are_put_in_place(trained_run: TrainedRun) -> None:
    run = trained_run.run
    one = Runner(run.module, run.split, settings=EvaluateSettings(batch_size=4)).batches(find_template("seq-1"))[0]
    with torch.no_grad():
        reading = Reading(run.module.network, one.batch, one.seen, width=5)
        dense, beams = reading.generated, reading.beams
    for row, (rows, scores) in enumerate(zip(beams.items.tolist(), beams.scores.tolist(), strict=True)):
        expected = np.zeros(run.split.log.n_items)
        for place, score in zip(rows, scores, strict=True):
            if place >= 0:
                expected[place] = np.exp(score)
        np.testing.assert_allclose(dense[row].numpy(), expected, rtol=1e-5)
        assert not expected[one.seen[row]].any()
        assert expected.sum() <= 1 + 1e-5
    torch.testing.assert_close(reading.item.exp().sum(dim=1), torch.ones(4))


@pytest.mark.shared_data
def test_an_independent_script_finds_the_same_metrics(
    trained_run: TrainedRun, predictions: pl.DataFrame, shared_data: Path, tmp_path: Path
) -> None:
    script = shared_data.parent / "tools" / "score_recommendations.py"
    files = export_plain(predictions, trained_run.run.split, tmp_path)
    rows = {f"{row['task']}.{row['template']}.{row['model']}.tsv": row for row in trained_run.metrics["rows"]}
    assert {path.name for path in files} == set(rows)
    for path in files:
        command: list[str | Path] = [sys.executable, script, tmp_path / "truth.tsv", path]
        command += ["--history", tmp_path / "history.txt", "--catalogue", tmp_path / "catalogue.txt"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = dict(line.split("\t") for line in done.stdout.splitlines())
        row = rows[path.name]
        assert int(found["users"]) == row["users"]
        for name in ("hr@5", "hr@10", "ndcg@5", "ndcg@10"):
            assert found[name.upper()] == f"{row[name]:.6f}", (path.name, name)
        assert (found["already_seen"], found["not_in_catalogue"]) == ("0", "0")
