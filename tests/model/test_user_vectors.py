"""Prompts without a history read a user as the mean of their items, the same in training and inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken.errors import ConfigError
from metatoken.tasks.batch import collate
from metatoken.tasks.examples import ExampleBuilder
from metatoken.tasks.task import find_task

TINY_T5 = {"backbone": "t5-preset", "preset": {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.1}}
WAYS = ("as_history", "folded")
TAKEN = [[3, 50, 7], [9], [], [20, 61, 3, 3]]


def template() -> Any:
    return next(one for one in find_task("direct").templates if "{user}" in one.text)


def examples(builder: ExampleBuilder, targets: list[int] | None = None) -> list[Any]:
    """Direct rows of some users: prompts, or what training reads, whose target follows."""
    rows = []
    for user, taken in enumerate(TAKEN):
        ids, items = builder.encoder.users[user], np.array(taken, dtype=np.int64)
        if targets is None:
            rows.append(builder.prompt(template(), ids, items[:0], taken=items))
        elif builder.encoder.encoder_decoder:
            rows.append(builder.prompt(template(), ids, items[:0], targets[user], items))
        else:
            rows.append(builder.causal(template(), ids, np.array(targets[user : user + 1]), 0, items))
    return rows


@pytest.mark.parametrize("fields", [{}, TINY_T5], ids=["gpt2", "t5"])
@pytest.mark.parametrize("trained", [False, True], ids=["prompts", "training rows"])
@pytest.mark.parametrize("way", WAYS)
def test_a_user_is_read_as_the_mean_of_their_items(
    make_module: Any, fields: dict[str, Any], trained: bool, way: str
) -> None:
    module = make_module(user_vectors=way, **fields)
    network, builder = module.network, module.builder
    batch = collate(examples(builder, [1, 2, 3, 4] if trained else None), builder.encoder.pad_id)
    with torch.no_grad():
        vectors = network.items()
        found = network.passage(batch, vectors).vectors
        plain = network.embed(batch.input_ids, batch.items, vectors)
        for row, taken in enumerate(TAKEN):
            last = builder.encoder.users[row][-1]
            places = torch.nonzero(batch.input_ids[row] == int(last))[:, 0].tolist()
            assert len(places) == (2 if taken and way == "as_history" else 1)
            place = places[-1]
            if taken:
                mean = torch.stack([F.normalize(vectors[item], dim=0) for item in taken]).mean(0)
                plain[row, place] = F.normalize(mean, dim=0) * network.input_norm
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("fields", [{}, TINY_T5], ids=["gpt2", "t5"])
@pytest.mark.parametrize("way", WAYS)
def test_training_and_inference_read_the_same_user(make_module: Any, fields: dict[str, Any], way: str) -> None:
    module, targets = make_module(user_vectors=way, **fields), [1, 2, 3, 4]
    network, pad = module.network, module.builder.encoder.pad_id
    with torch.no_grad():
        scores = network(collate(examples(module.builder, targets), pad)).item
        state = network.start(collate(examples(module.builder), pad)).last
        items = torch.log_softmax(network.item_head(state, network.items()), dim=1)
    torch.testing.assert_close(scores, items[torch.arange(len(targets)), torch.tensor(targets)])


def test_a_sample_of_the_catalogue_holds_what_users_took(make_module: Any) -> None:
    module = make_module(item_softmax="sampled", softmax_samples=4, preset={"dim": 32, "layers": 1, "dropout": 0.0})
    network, batch = module.network.train(), collate(examples(module.builder, [1, 2, 3, 4]), 0)
    torch.manual_seed(0)
    _, rows = network._columns(batch, around=True)
    assert rows is not None
    assert len(rows) < network.index.n_items
    assert set(batch.taken.tolist()) <= set(rows.tolist())
    network(batch).item.sum().backward()
    assert torch.isfinite(network.items.residual.grad).all()
    assert network.items.residual.grad[50].abs().sum() > 0


def test_only_the_newest_items_of_a_long_history_count(make_module: Any) -> None:
    module = make_module(max_history=2)
    assert examples(module.builder)[3].taken.tolist() == [3, 3]


def test_nothing_is_folded_where_no_user_is_shown_or_the_setting_says_so(make_module: Any) -> None:
    module = make_module(user_vectors="none")
    assert module.settings.user_vectors == "none"
    assert all(len(one.taken) == 0 and one.user_at == -1 for one in examples(module.builder))
    builder = make_module().builder
    taken, user = np.array([3, 50]), builder.encoder.users[0]
    nobody = builder.prompt(find_task("sequential").templates[0], None, taken, taken=taken)
    nothing = builder.prompt(template(), user, taken[:0])
    assert all(len(one.taken) == 0 and one.user_at == -1 for one in (nobody, nothing))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "as_history"),
        ({"history": "written"}, "none"),
        ({"history": "written", "user_vectors": "folded"}, "folded"),
    ],
)
def test_users_are_folded_where_histories_are_compact(make_module: Any, fields: dict[str, Any], expected: str) -> None:
    module = make_module(**fields)
    assert module.settings.user_vectors == expected
    assert module.builder.user_vectors == expected


def test_a_user_stands_where_the_newest_item_of_a_history_does(make_module: Any) -> None:
    builder = make_module().builder
    history, user = np.array(TAKEN[0]), builder.encoder.users[0]
    sequential = builder.prompt(find_task("sequential").templates[0], None, history)
    for one in find_task("direct").templates:
        direct = builder.prompt(one, user, history[:0], taken=history)
        trained = builder.causal(one, user, np.array([5]), 0, history)
        assert direct.user_at == trained.user_at == len(direct.ids) - 1 == trained.states[0]
        assert direct.positions[-1] == sequential.positions[-1] == builder.answer_at - 1
        assert trained.positions[trained.user_at :].tolist() == [builder.answer_at - 1, builder.answer_at]
    nothing = builder.prompt(find_task("direct").templates[0], user, history[:0])
    assert nothing.positions.tolist() == list(range(len(nothing.words), len(nothing.words) + len(nothing.ids)))


@pytest.mark.parametrize("way", WAYS)
def test_folded_users_need_items_with_vectors_of_their_own(make_module: Any, way: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.user_vectors: {way} .* leaf=true"):
        make_module(user_vectors=way, leaf=False)
