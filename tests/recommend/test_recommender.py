from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
import torch

from metatoken import Vocabulary
from metatoken.data import Interactions, Sequences, generate_world
from metatoken.errors import ArgumentError, ConditionError, UnknownIdError
from metatoken.evaluate.predictions import read_table
from metatoken.model.heads.top import TOLERANCE
from metatoken.predict.fusion import Fusion
from metatoken.predict.ranker import DEPTH, Reading
from metatoken.recommend import Model, Recommendation, Recommender, Request
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_template
from tests.conftest import TrainedRun

MODELS = get_args(Model)


@pytest.fixture(scope="module")
def recommender(trained_run: TrainedRun) -> Recommender:
    run = trained_run.run
    return Recommender(run.module, run.split.log, run.fusion)


@pytest.fixture(scope="module")
def users(recommender: Recommender) -> tuple[str, ...]:
    return recommender.history.users.raw


def history_of(recommender: Recommender, user: str) -> list[str]:
    log = recommender.history
    return [log.items.raw[row] for row in log.sequences()[log.users.row(user)]]


def ids(found: list[Recommendation]) -> list[str]:
    return [one.item for one in found]


def same(ours: list[Recommendation], theirs: list[Recommendation]) -> None:
    """The same items in the same order, whatever else is in the batch, and scores within the promised tolerance."""
    np.testing.assert_allclose([one.score for one in ours], [one.score for one in theirs], rtol=TOLERANCE)
    assert [(one.rank, one.item, one.title) for one in ours] == [(one.rank, one.item, one.title) for one in theirs]


@pytest.mark.parametrize("model", MODELS)
def test_a_known_user(model: Model, recommender: Recommender, users: tuple[str, ...]) -> None:
    found = recommender.recommend(users[0], k=7, model=model)
    assert [one.rank for one in found] == [1, 2, 3, 4, 5, 6, 7]
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert len(set(ids(found))) == 7
    assert not set(ids(found)) & set(history_of(recommender, users[0]))
    titles = recommender.module.vocabulary.titles
    assert titles is not None
    assert all(one.title == titles[recommender.history.items.row(one.item)] for one in found)


@pytest.mark.parametrize("model", MODELS)
def test_a_history_stands_for_its_user(model: Model, recommender: Recommender, users: tuple[str, ...]) -> None:
    history = history_of(recommender, users[3])
    known = recommender.recommend(users[3], model=model)
    assert recommender.recommend(history=history, model=model) == known
    assert recommender.recommend("a stranger", history=history, model=model) == known


def test_scores_are_those_of_the_heads(recommender: Recommender, users: tuple[str, ...]) -> None:
    log, module = recommender.history, recommender.module
    log_rows = log.sequences()
    template = find_template("seq-1")
    one = EvaluationBatches(module.reader, template, np.array([2]), np.array([0]), log_rows, batch_size=1)[0]
    with torch.no_grad():
        reading = Reading(module.network, one.batch, one.seen)
        item = reading.item
    prior = torch.from_numpy(recommender.fusion.fit_prior(log).scores(log_rows, np.array([2])))
    fused = recommender.fusion.scores(item, prior)[0].exp()
    by_item = [found for model in ("item_head", "generation") for found in recommender.recommend(users[2], model=model)]
    for found in by_item:
        assert found.score == pytest.approx(float(item[0, log.items.row(found.item)].exp()), rel=1e-4)
    for found in recommender.recommend(users[2], model="fused"):
        assert found.score == pytest.approx(float(fused[log.items.row(found.item)]), rel=1e-4)


def test_with_the_last_item_hidden_it_is_the_evaluated_list(trained_run: TrainedRun) -> None:
    run = trained_run.run
    recommender = Recommender(run.module, run.split.log)
    predicted = read_table(run.folder / "predictions.parquet").filter(
        model="item_head", task="sequential", template="seq-1"
    )
    for user in run.split.log.users.raw[:5]:
        before = history_of(recommender, user)[:-1]
        found = recommender.recommend(history=before, model="item_head", k=10)
        assert ids(found) == predicted.filter(pl.col("user") == user).sort("rank")["item"].to_list()


@pytest.mark.parametrize("model", MODELS)
def test_a_history_that_is_empty(model: Model, recommender: Recommender) -> None:
    assert len(recommender.recommend(history=[], k=5, model=model)) == 5


def test_unknown_ids(recommender: Recommender, users: tuple[str, ...]) -> None:
    with pytest.raises(UnknownIdError, match="nobody"):
        recommender.recommend("nobody")
    with pytest.raises(UnknownIdError, match="nothing"):
        recommender.recommend(history=[recommender.history.items.raw[0], "nothing"])
    with pytest.raises(UnknownIdError, match="nobody"):
        recommender.recommend_many([users[0], "nobody"])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("k", [61, 1000])
def test_more_than_the_catalogue(model: Model, k: int, recommender: Recommender, users: tuple[str, ...]) -> None:
    """The whole unseen catalogue comes once."""
    log, seen = recommender.history, set(history_of(recommender, users[0]))
    found = recommender.recommend(users[0], k=k, model=model)
    assert set(ids(found)) == set(log.items.raw) - seen
    assert [one.rank for one in found] == list(range(1, log.n_items - len(seen) + 1))
    everything = recommender.recommend(users[0], k=k, model=model, exclude_seen=False)
    assert set(ids(everything)) == set(log.items.raw)
    assert sum(one.score for one in everything) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_more_than_enters_the_fusion(model: Model, make_module: Any) -> None:
    log = generate_world(n_users=40, n_items=DEPTH + 30, seed=0).interactions()
    vocabulary = Vocabulary.fit(log, levels=[16, 16], dim=8, walks_per_node=2, walk_length=8)
    recommender = Recommender(make_module(vocabulary), log)
    user = log.users.raw[0]
    found = recommender.recommend(user, k=DEPTH + 10, model=model)
    assert len(found) == min(DEPTH + 10, log.n_items - len(log.sequences()[0]))
    assert len(found) > DEPTH


@pytest.mark.parametrize("model", MODELS)
def test_seen_items_may_be_asked_for(model: Model, recommender: Recommender, users: tuple[str, ...]) -> None:
    """Without the filter the order of the unseen stays: filters remove candidates, they never renormalise."""
    seen = set(history_of(recommender, users[1]))
    everything = recommender.recommend(users[1], k=60, model=model, exclude_seen=False)
    unseen = recommender.recommend(users[1], k=60, model=model)
    assert seen <= set(ids(everything))
    left = [one for one in everything if one.item not in seen]
    assert ids(left) == ids(unseen)
    np.testing.assert_allclose([one.score for one in left], [one.score for one in unseen], rtol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_loaded_recommender_is_the_one_in_memory(
    model: Model, recommender: Recommender, trained_run: TrainedRun, users: tuple[str, ...]
) -> None:
    loaded = Recommender.load(trained_run.run.folder)
    assert loaded.recommend_many(users, model=model) == recommender.recommend_many(users, model=model)


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_many_users_keep_their_order(batch_size: int, recommender: Recommender, users: tuple[str, ...]) -> None:
    asked = [users[5], users[0], users[40], users[7]]
    many = recommender.recommend_many(asked, k=4, batch_size=batch_size)
    assert list(many) == asked
    for user in asked:
        same(many[user], recommender.recommend(user, k=4))


def test_nobody_and_the_same_user_twice(recommender: Recommender, users: tuple[str, ...]) -> None:
    assert recommender.recommend_many([]) == {}
    assert list(recommender.recommend_many([users[0], users[0]])) == [users[0]]
    assert list(recommender.recommend_many(iter(users[:2]))) == list(users[:2])


def test_weights_decide_what_fused_means(trained_run: TrainedRun, users: tuple[str, ...]) -> None:
    run = trained_run.run
    item = Recommender(run.module, run.split.log, Fusion(1.0, 0.0, 0.0))
    same(item.recommend(users[0]), item.recommend(users[0], model="item_head"))


def test_arguments_that_cannot_be_used(recommender: Recommender, users: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError, match="neither"):
        recommender.recommend()
    with pytest.raises(ArgumentError, match="at least 1"):
        recommender.recommend(users[0], k=0)
    with pytest.raises(ArgumentError, match="item_head"):
        recommender.recommend(users[0], model="best")  # type: ignore[arg-type]


def test_another_log_is_refused(trained_run: TrainedRun) -> None:
    other = Interactions.from_arrays(["a", "a"], ["x", "y"])
    with pytest.raises(ArgumentError, match="items of the vocabulary"):
        Recommender(trained_run.run.module, other)


def test_a_model_of_the_direct_task_alone(make_module: Any, split: Any) -> None:
    recommender = Recommender(make_module(tasks=["direct"]), split.log)
    with pytest.raises(ArgumentError, match="sequential"):
        recommender.recommend(split.log.users.raw[0])


def test_without_titles_they_are_empty(make_module: Any, split: Any, vocabulary: Any, tmp_path: Path) -> None:
    module = make_module(replace(vocabulary, titles=None))
    log = replace(split.log, item_table=None)
    found = Recommender(module, log).recommend(log.users.raw[0], k=3)
    assert [one.title for one in found] == ["", "", ""]
    with pytest.raises(ConditionError, match="no column title; the columns are item"):
        Recommender(module, log).recommend(log.users.raw[0], where="title contains 'x'")


def test_user_tokens_stand_in_the_prompt_where_the_model_was_trained_with_them(make_module: Any, split: Any) -> None:
    """The prompts are those of the evaluation; a stranger's token is folded in from the history."""
    module = make_module(user_tokens="prefix")
    recommender = Recommender(module, split.log)
    histories = split.log.sequences()
    template = find_template("seq-1")
    asked = EvaluationBatches(module.reader, template, np.array([4]), np.array([0]), histories, batch_size=1)
    expected = asked[0].batch
    known = recommender.prepare(Request(split.log.users.raw[4]))
    found = recommender._prompts(Sequences.of([histories[4]]), [known])
    assert torch.equal(found.input_ids, expected.input_ids)
    raw = [split.log.items.raw[row] for row in histories[4]]
    stranger = recommender._prompts(Sequences.of([histories[4]]), [recommender.prepare(Request("x", raw))])
    codes = module.vocabulary.user_codes_of(Sequences.of([histories[4]]))[0]
    tokens = module.vocabulary.tokens_of_codes(codes) + module.builder.encoder.base
    assert " ".join(map(str, tokens.tolist())) in " ".join(map(str, stranger.input_ids[0].tolist()))
    assert len(recommender.recommend(history=["p0001"], k=3)) == 3


def expected_with(recommender: Recommender, user: str, model: Model, allowed: set[str]) -> list[str]:
    """Oracle of a filter: everything in order, what is not allowed struck out afterwards."""
    everything = recommender.recommend(user, k=recommender.history.n_items, model=model, exclude_seen=False)
    return [one.item for one in everything if one.item in allowed]


@pytest.mark.parametrize("model", MODELS)
def test_filters_strike_out_and_k_items_come_back(
    model: Model, recommender: Recommender, users: tuple[str, ...]
) -> None:
    user, items = users[6], recommender.history.items.raw
    seen = set(history_of(recommender, user))
    table = recommender.catalogue.frame
    kind = table["categories"][0][0]
    of_kind = {raw for raw, kinds in zip(items, table["categories"], strict=True) if kind in kinds}
    allow, deny = list(items[3:40]), list(items[20:30])
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"where": f'category == "{kind}"'}, of_kind - seen),
        ({"where": f'category != "{kind}"', "exclude_seen": False}, set(items) - of_kind),
        ({"allow": allow}, set(allow) - seen),
        ({"deny": deny}, set(items) - set(deny) - seen),
        (
            {"allow": allow, "deny": deny, "where": f'not category in ["{kind}"]'},
            set(allow) - set(deny) - of_kind - seen,
        ),
        ({"allow": []}, set()),
        ({"where": "title is null"}, set()),
    ]
    for arguments, allowed in cases:
        found = recommender.recommend(user, k=len(items), model=model, **arguments)
        assert set(ids(found)) == allowed, arguments
        assert ids(found) == expected_with(recommender, user, model, allowed), arguments
        few = recommender.recommend(user, k=3, model=model, **arguments)
        assert len(few) == min(3, len(allowed)), arguments


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_of_anything_is_answered_as_one_by_one(
    model: Model, recommender: Recommender, users: tuple[str, ...]
) -> None:
    items = recommender.history.items.raw
    requests = [
        Request(users[0], model=model),
        Request(history=[], k=3, model=model),
        Request("stranger", [items[4], "lost", items[9], "gone"], k=25, model=model),
        Request(users[1], k=60, model=model, exclude_seen=False),
        Request(users[2], k=5, model=model, allow=[items[7], items[8]], deny=["lost"]),
        Request(users[2], k=5, model=model, where="title contains 'a'"),
        Request(users[0], model=model),
    ]
    together = recommender.answer(requests)
    for request, found in zip(requests, together, strict=True):
        same(found.items, recommender.answer([request])[0].items)
        assert found.user == request.user
    same(together[0].items, together[6].items)  # in another row of the batch, where a product may round differently
    assert together[2].unknown_history == ("lost", "gone")
    assert together[4].unknown_listed == ("lost",)
    alone = recommender.answer([Request(history=[items[4], items[9]], k=25, model=model)])[0]
    same(together[2].items, alone.items)
    assert recommender.answer([]) == []


def test_a_neighbour_with_a_hard_filter_changes_nothing(make_module: Any) -> None:
    """One that needs a wide beam must not widen the beam of another."""
    log = generate_world(n_users=60, n_items=150, seed=1).interactions()
    vocabulary = Vocabulary.fit(log, levels=[64, 16], dim=8, walks_per_node=2, walk_length=8)
    recommender = Recommender(make_module(vocabulary), log)
    easy = Request(log.users.raw[0], model="generation", k=100)
    hard = Request(log.users.raw[1], model="generation", k=100, allow=log.items.raw[::40])
    same(recommender.answer([easy, hard])[0].items, recommender.answer([easy])[0].items)


def test_an_improbable_item_is_still_an_item(recommender: Recommender, users: tuple[str, ...]) -> None:
    """Probabilities below the smallest float still rank, so all k come back."""
    from copy import deepcopy

    module = deepcopy(recommender.module)
    module.network.item_head.temperature = 1e-4
    cold = Recommender(module, recommender.history)
    for model in ("item_head", "generation"):
        found = cold.recommend(users[0], k=60, model=model, exclude_seen=False)  # type: ignore[arg-type]
        assert len(found) == 60
        assert found[-1].score == 0.0


def test_lists_are_looked_up_as_they_are_now(
    recommender: Recommender, users: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = recommender.history.items.raw
    allow, changing = tuple(items[:9]), list(items[:9])
    first = recommender.prepare(Request(users[0], allow=allow, deny=changing)).deny
    changing.pop()
    second = recommender.prepare(Request(users[1], allow=allow, deny=changing))
    assert (len(first), len(second.deny)) == (9, 8)
    calls = []
    rows = recommender._rows
    monkeypatch.setattr(recommender, "_rows", lambda raw: calls.append(len(raw)) or rows(raw))
    for user in users[:5]:
        one = recommender.prepare(Request(user, allow=allow))
        assert one.allow is not None
        assert one.allow.tolist() == list(range(9))
    assert calls.count(9) == 0
    for n in range(20):
        assert recommender.prepare(Request(users[0], allow=tuple(items[n : n + 2]))).allow.tolist() == [n, n + 1]  # type: ignore[union-attr]


def test_unknown_listed_ids_are_refused_by_the_strict_calls(recommender: Recommender, users: tuple[str, ...]) -> None:
    for arguments in ({"allow": ["lost"]}, {"deny": ["lost"]}):
        with pytest.raises(UnknownIdError, match="lost"):
            recommender.recommend(users[0], **arguments)  # type: ignore[arg-type]
        with pytest.raises(UnknownIdError, match="lost"):
            recommender.recommend_many(users[:2], **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConditionError, match="character 1"):
        recommender.recommend_many(users[:2], where="colour == 'red'")
