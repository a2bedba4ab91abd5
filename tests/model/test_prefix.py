"""Beams that share their prompt's cache get the states of beams that have copies, and of whole sequences."""

from __future__ import annotations

import pytest
import torch

from metatoken.model import prefix as prefixes
from metatoken.model.backbone.passage import Passage
from tests.prompting import prompts


def start(module, split, n=3):
    sequences = split.train.sequences()
    batch = prompts(module, [sequences[user] for user in range(n)])
    return batch, module.network.start(batch)


SOURCES = [[0, 0, 1, 2, 2, 2], [3, 0, 0, 5, 1], [4, 4, 1]]
LONELY = [[0, 1, 2], [0] * 9 + [1], [3, 9]]  # one prompt has nearly all beams


def walk(backbone, prefix, sources, base, *, shared):
    """States after each step, and the ids that each row has read."""
    if not shared:
        prefix = prefixes.separate(prefix)
    read = [[] for _ in prefix.last]
    for number, source in enumerate(sources):
        ids = [base + (7 * number + 3 * row) % 20 for row in range(len(source))]
        read = [[*read[s], i] for s, i in zip(source, ids, strict=True)]
        prefix = backbone.step(prefix, torch.tensor(source), torch.tensor(ids))
        # Sharing ends where padding outweighs it, and does not begin again.
        assert (prefix.owner is not None) == (shared and (sources is SOURCES or number == 0))
    return prefix, read


@pytest.mark.parametrize("sources", [SOURCES, LONELY], ids=["even", "lonely"])
@torch.no_grad()
def test_shared_equals_separate_and_whole_sequences(make_module, split, sources, monkeypatch):
    monkeypatch.setattr(prefixes, "PADDING", 4 if sources is SOURCES else 1)
    module = make_module()
    network = module.network
    batch, prefix = start(module, split)
    assert prefix.owner is not None
    shared, read = walk(network.backbone, prefix, sources, network.base, shared=True)
    own, again = walk(network.backbone, prefix, sources, network.base, shared=False)
    assert read == again
    torch.testing.assert_close(shared.last, own.last, rtol=1e-4, atol=1e-5)
    origin = list(range(3))
    for source in sources:
        origin = [origin[s] for s in source]
    for row, prompt in enumerate(origin):
        whole = network.passage(batch, network.items()).inline()
        real = whole.mask[prompt].bool()
        vectors = torch.cat([whole.vectors[prompt][real], network.backbone.embed(torch.tensor(read[row]))])[None]
        order = whole.positions[prompt][real]
        order = torch.cat([order, order[-1] + 1 + torch.arange(len(read[row]))])[None]
        states = network.backbone.states(Passage(vectors, torch.ones_like(order), order))
        torch.testing.assert_close(shared.last[row], states[0, -1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_step_leaves_its_prefix_as_it_was(make_module, split):
    module = make_module()
    _, prefix = start(module, split)
    before = [(layer.keys.clone(), layer.values.clone()) for layer in prefix.cache.layers]
    walk(module.network.backbone, prefix, SOURCES, module.network.base, shared=True)
    walk(module.network.backbone, prefix, SOURCES, module.network.base, shared=False)
    for layer, (keys, values) in zip(prefix.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_windows_and_other_kernels_are_not_shared():
    from transformers import DynamicCache, MistralConfig

    windowed = DynamicCache(config=MistralConfig(num_hidden_layers=2, sliding_window=4))
    assert not prefixes.sharable(windowed, "sdpa")
    assert not prefixes.sharable(None, "sdpa")
    plain = DynamicCache()
    plain.update(torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4), 0)
    assert prefixes.sharable(plain, "sdpa")
    assert not prefixes.sharable(plain, "flash_attention_2")
