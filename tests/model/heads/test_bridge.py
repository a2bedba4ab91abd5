"""Item vectors narrower than the backbone: every way of scoring agrees, and what is saved, exported or grown works."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken.decode.beam import beam_search
from metatoken.decode.exact import exact_scores
from metatoken.model.heads.bridge import ItemBridge
from metatoken.model.heads.ranking import item_scores
from metatoken.model.objective import loss_parts
from metatoken.model.store.export import export_model
from metatoken.model.store.saving import load_model, save_model
from metatoken.recommend import Recommender
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_template
from tests.prompting import moved, prompts

WIDTH, HISTORIES = 6, [[3, 17, 42, 8, 60], [1, 2]]


def narrow(make_module, **fields):
    """A module with item vectors of six numbers, every weight of which differs from its start."""
    return moved(make_module(**({"item_dim": WIDTH} | fields)))


def test_maps_are_what_they_say() -> None:
    torch.manual_seed(0)
    bridge = ItemBridge(8, 3)
    vectors, states = torch.randn(5, 3), F.normalize(torch.randn(4, 8), dim=-1)
    with torch.no_grad():
        read = bridge.inputs(vectors)
        torch.testing.assert_close(read, F.normalize(vectors @ bridge.reads.weight.T, dim=-1))
        asked = bridge.queries(states) @ vectors.T
        torch.testing.assert_close(asked, states @ bridge.outputs(vectors).T)
        torch.testing.assert_close(asked, states @ bridge.asks.weight.T @ vectors.T)
    # Orthogonal at the start: a map that loses nothing of an item, and unit questions on average.
    torch.testing.assert_close(bridge.reads.weight.T @ bridge.reads.weight, torch.eye(3))
    many = F.normalize(torch.randn(4000, 8), dim=-1)
    with torch.no_grad():
        length = float(bridge.queries(many).norm(dim=1).square().mean())
    assert length == pytest.approx(1, abs=0.05)


def test_item_vectors_of_the_backbones_width_need_no_maps(make_module) -> None:
    names = set(make_module().network.state_dict())
    dim = make_module().network.backbone.dim
    assert set(make_module(item_dim=dim).network.state_dict()) == names
    more = set(make_module(item_dim=WIDTH).network.state_dict()) - names
    assert {name.split(".")[0] for name in more} == {"bridge", "narrow"}


def test_every_way_of_scoring_agrees(make_module) -> None:
    module = narrow(make_module)
    network, batch = module.network, prompts(module, HISTORIES)
    with torch.no_grad():
        vectors = F.normalize(network.items(), dim=-1)
        state = network.start(batch).last
        by_hand = torch.log_softmax(state @ network.bridge.asks.weight.T @ vectors.T / 0.07, dim=1)
        torch.testing.assert_close(item_scores(network, batch), by_hand)
        every = exact_scores(network, batch)
        assert torch.allclose(torch.logsumexp(every, 1), torch.zeros(2), atol=1e-4)
        found = beam_search(network, batch, [np.zeros(0, int)] * 2, k=10, width=100)
    torch.testing.assert_close(found.scores, every.topk(10).values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(every.gather(1, found.items), found.scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("samples", [None, "sampled"])
def test_training_scores_targets_as_ranking_does_and_reaches_every_weight(make_module, samples) -> None:
    module = narrow(make_module, item_softmax=samples, softmax_samples=16)
    network, builder, template = module.network, module.builder, find_template("seq-1")
    rows = [np.array([*items, 5]) for items in HISTORIES]
    batch = collate([builder.causal(template, None, items, len(items) - 1) for items in rows], builder.encoder.pad_id)
    with torch.no_grad():
        scores = network(batch)
        expected = item_scores(network, prompts(module, HISTORIES))[:, 5]
    torch.testing.assert_close(
        scores.item[[len(HISTORIES[0]) - 1, -1]] if len(scores.item) > 2 else scores.item, expected
    )
    network.train()
    loss_parts(network(batch), module.settings.weights)["loss"].backward()
    for name in ("bridge.reads.weight", "bridge.asks.weight", "narrow.weight", "items.residual", "table.weight"):
        grad = network.get_parameter(name).grad
        assert grad is not None, name
        assert grad.abs().sum() > 0, name


def test_saved_and_loaded_it_ranks_the_same(make_module, vocabulary, tmp_path) -> None:
    module = narrow(make_module)
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", vocabulary)
    assert again.settings.item_dim == WIDTH
    with torch.no_grad():
        assert torch.equal(
            item_scores(again.network, prompts(again, HISTORIES)),
            item_scores(module.network, prompts(module, HISTORIES)),
        )


@pytest.mark.parametrize("history", ["compact", "written"])
def test_a_process_without_metatoken_recommends_the_same(make_module, split, tmp_path, history) -> None:
    from metatoken.model.store.standalone import Recommender as Standalone

    module = narrow(make_module, history=history)
    export_model(module, tmp_path / "hf")
    plain, raw = Standalone(tmp_path / "hf"), split.log.items.raw
    for items in HISTORIES:
        ids = [raw[row] for row in items]
        listed = Recommender(module, split.log).recommend(history=ids, k=10, model="generation")
        found = plain.recommend(ids, 10)
        assert [one.item for one in found] == [one.item for one in listed]
        assert [one.score for one in found] == pytest.approx([one.score for one in listed], rel=1e-3)


def test_an_encoder_decoder_asks_by_its_decoder(make_module) -> None:
    module = narrow(make_module, backbone="t5-preset", preset={"dim": 32, "layers": 1, "heads": 2})
    network, batch = module.network, prompts(module, HISTORIES)
    with torch.no_grad():
        state = network.start(batch).last
        scores = torch.log_softmax(network.bridge.queries(state) @ F.normalize(network.items(), dim=-1).T / 0.07, 1)
        torch.testing.assert_close(item_scores(network, batch), scores)
        torch.testing.assert_close(torch.logsumexp(exact_scores(network, batch), 1), torch.zeros(2), atol=1e-4, rtol=0)


def test_a_width_of_one_is_refused() -> None:
    from metatoken.errors import ConfigError
    from metatoken.model.settings import ModelSettings

    with pytest.raises(ConfigError, match=r"model.item_dim: expected an integer of at least 2, got 1"):
        ModelSettings.of(None, {"item_dim": 1})
