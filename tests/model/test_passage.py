"""Words that rows share give what reading every row by itself gives, for every family of backbones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from metatoken import MetaTokenModule
from metatoken.model.backbone import gpt2, llama
from metatoken.model.backbone.passage import Passage
from metatoken.model.objective import loss_parts
from metatoken.model.settings import Weights
from metatoken.tasks.batch import collate
from metatoken.tasks.examples import Example
from metatoken.tasks.task import find_task
from tests.model.architectures import ARCHITECTURES

CAUSAL = [name for name in ARCHITECTURES if not name.startswith("t5")]
# Behind which sorts of words the rows stand: template of each row, None for a row without words; or a user's row.
MIXTURES = {
    "one": [0, 0, 0, 0],
    "several": [0, 1, 2, "user", 0, None, 1],
    "none": [None, None, None],
}


def make(vocabularies, folder, **fields):
    """A module whose every weight trains, without dropout."""
    fields = {"tuning": "full", "user_tokens": "prefix", "max_history": 10} | fields
    module = MetaTokenModule(vocabularies[3], backbone=str(folder), **fields)
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return module


def rows(module, mixture):
    """Rows of unlike lengths, some of one item, which is then an answer without a history."""
    rng, builder, templates = np.random.default_rng(0), module.builder, find_task("sequential").templates
    lengths = [5, 1, 3, 4, 2, 6, 1]
    found = []
    for kind, length in zip(mixture, lengths, strict=False):
        items = rng.integers(0, 100, length)
        user = builder.encoder.users[7] if kind == "user" else None
        row = builder.causal(templates[kind if isinstance(kind, int) else 0], user, items, min(1, length - 1))
        if kind is None:  # as the rows of tasks about pairs are
            row = Example(row.ids, row.items, row.states, row.targets, answers=row.answers)
        found.append(row)
    return found


def inline_only(monkeypatch):
    monkeypatch.setattr(Passage, "spread", lambda _passage, _cache: None)


def spied(monkeypatch):
    """The numbers of rows that words were spread to, also where a faster pass is, which has tests of its own."""
    for quick in (gpt2, llama):
        monkeypatch.setattr(quick, "readable", lambda _body, _passage: False)
    calls, spread = [], Passage.spread

    def call(passage, cache):
        calls.append(len(passage.mask))
        return spread(passage, cache)

    monkeypatch.setattr(Passage, "spread", call)
    return calls


def alone(module, example):
    """Slow twin: the states of one row, with its words in front of it, without padding or a cache."""
    network = module.network
    items = torch.from_numpy(np.concatenate([np.full(len(example.words), -1), example.items]))[None]
    ids = torch.from_numpy(np.concatenate([example.words, example.ids]))[None]
    order = np.arange(len(example.ids)) if example.positions is None else example.positions
    positions = torch.from_numpy(np.concatenate([np.arange(len(example.words)), order]))[None]
    vectors = network.embed(ids, items, network.items())
    states = network.backbone.states(Passage(vectors, torch.ones_like(ids), positions))
    return states[0, len(example.words) :]


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("family", CAUSAL)
@torch.no_grad()
def test_states_are_those_of_each_row_alone(vocabularies, backbones, family, mixture, monkeypatch):
    module = make(vocabularies, backbones[family]).eval()
    examples, calls = rows(module, MIXTURES[mixture]), spied(monkeypatch)
    batch = collate(examples, module.builder.encoder.pad_id)
    assert len(batch.words) == len({id(example.words) for example in examples})
    passage = module.network.passage(batch, module.network.items())
    shared = module.network.backbone.states(passage)
    assert calls == ([] if mixture == "none" else [len(examples)])  # it was shared at all
    inline_only(monkeypatch)
    inline = module.network.backbone.states(passage)
    for row, example in enumerate(examples):
        expected, length = alone(module, example), len(example.ids)
        torch.testing.assert_close(shared[row, :length], expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(inline[row, :length], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mixture", MIXTURES)
@torch.no_grad()
def test_more_padding_changes_no_state(vocabularies, backbones, mixture):
    module = make(vocabularies, backbones["llama-tied"]).eval()
    batch = collate(rows(module, MIXTURES[mixture]), module.builder.encoder.pad_id)
    passage = module.network.passage(batch, module.network.items())
    longer = passage.padded(8)
    assert longer.mask.shape[1] % 8 == longer.shared % 8 == 0
    assert longer.mask.sum() == passage.mask.sum()
    real = passage.mask.bool()
    found = module.network.backbone.states(longer)[:, : real.shape[1]]
    torch.testing.assert_close(found[real], module.network.backbone.states(passage)[real], rtol=1e-4, atol=1e-5)


def gradients(module, batch):
    module.zero_grad()
    loss = loss_parts(module.network(batch), Weights())["loss"]
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", CAUSAL)
def test_gradients_are_those_of_rows_with_words_of_their_own(vocabularies, backbones, family, monkeypatch):
    """Also with checkpoints, where words are never shared since blocks are run again without a cache."""
    module = make(vocabularies, backbones[family]).train()
    checkpointed = make(vocabularies, backbones[family], gradient_checkpointing=True).train()
    checkpointed.load_state_dict(module.state_dict())
    batch = collate(rows(module, MIXTURES["several"]), module.builder.encoder.pad_id)
    calls = spied(monkeypatch)
    found = {"shared": gradients(module, batch)}
    assert calls == [len(batch.input_ids)]
    found["checkpointed"] = gradients(checkpointed, batch)
    assert len(calls) == 1
    inline_only(monkeypatch)
    loss, expected = gradients(module, batch)
    assert any(float(one.abs().max()) > 0 for name, one in expected.items() if name.startswith("network.backbone"))
    for other, grads in found.values():
        torch.testing.assert_close(other, loss, rtol=1e-4, atol=1e-5)
        assert grads.keys() == expected.keys()
        for name, grad in grads.items():
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-4 * max(scale, 1e-3), msg=name)


def test_an_encoder_reads_words_with_what_follows_them(vocabularies, backbones):
    module = make(vocabularies, backbones["t5-tied"])
    prompts = [module.builder.prompt(find_task("sequential").templates[0], None, np.arange(n)) for n in (0, 3)]
    batch = collate(prompts, module.builder.encoder.pad_id)
    assert batch.words.shape == (1, 0)


def test_other_caches_are_not_shared(vocabularies, backbones):
    from transformers import DynamicCache, StaticCache

    module = make(vocabularies, backbones["llama-tied"]).eval()
    passage = module.network.passage(collate(rows(module, [0, 0]), 0), module.network.items())
    config = module.network.backbone.bare().config
    assert passage.spread(StaticCache(config=config, max_cache_len=8)) is None
    assert passage.spread(DynamicCache()) is None  # nothing was read


def test_a_passage_without_words_is_itself():
    passage = Passage(torch.zeros(2, 3, 4), torch.tensor([[1, 1, 1], [1, 0, 0]]))
    assert passage.inline() is passage
    assert passage.next_position.tolist() == [3, 1]
    words = Passage(
        torch.zeros(2, 3, 4), passage.mask, torch.tensor([[2, 9, 10], [1, 0, 0]]), torch.ones(2, 2, 4),
        torch.tensor([[1, 1], [1, 0]]), torch.tensor([0, 1]),
    )  # fmt: skip
    assert words.next_position.tolist() == [11, 2]
    assert words.inline().mask.tolist() == [[1, 1, 1, 1, 1], [1, 0, 1, 0, 0]]
    assert words.inline().positions.tolist() == [[0, 1, 2, 9, 10], [0, 1, 1, 0, 0]]
