"""The fast pass of a GPT-2 gives what Hugging Face's own gives, and is taken where it is meant to be."""

from __future__ import annotations

import pytest
import torch

from metatoken import MetaTokenModule
from metatoken.model.backbone import gpt2
from metatoken.model.backbone.dropout import quicken
from tests.model.backbone.passes import batch_of, counted, passage_of, slowly
from tests.model.test_passage import MIXTURES, gradients, make


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("scaled", [False, True])
@torch.no_grad()
def test_states_and_outputs_are_those_of_the_models_own_pass(vocabularies, backbones, mixture, scaled, monkeypatch):
    module = make(vocabularies, backbones["gpt2"]).eval()
    for depth, block in enumerate(module.network.backbone.bare().base_model.h):
        block.attn.scaling /= 1 + depth * scaled  # scale_attn_by_inverse_layer_idx
    passage, calls = passage_of(module, mixture), counted(monkeypatch, gpt2)
    found = module.network.backbone.read(passage)
    assert len(calls) == 1
    slowly(monkeypatch, gpt2)
    expected = module.network.backbone.read(passage)
    real = passage.mask.bool()
    for fast, slow in zip(found, expected, strict=True):
        torch.testing.assert_close(fast[real], slow[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_gradients_are_those_of_the_models_own_pass(vocabularies, mixture, heads, monkeypatch):
    size = {"dim": 16, "layers": 2, "heads": heads, "dropout": 0.0}
    module = MetaTokenModule(vocabularies[3], preset=size, user_tokens="prefix", max_history=10).train()
    batch = batch_of(module, mixture)
    loss, found = gradients(module, batch)
    slowly(monkeypatch, gpt2)
    expected_loss, expected = gradients(module, batch)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    assert found.keys() == expected.keys()
    for name, grad in found.items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-4 * max(scale, 1e-3), msg=name)


def test_dropout_leaves_out_as_much_as_in_the_models_own_pass(vocabularies, backbones, monkeypatch):
    """Over many draws, states have the same mean and spread at every place."""
    module = make(vocabularies, backbones["gpt2"])
    body = quicken(module.network.backbone.bare().base_model)
    for block in body.h:
        block.attn.attn_dropout.p = 0.5
    passage, real = passage_of(module), passage_of(module).mask.bool()

    def drawn(n=300):
        torch.manual_seed(1)
        with torch.no_grad():
            states = torch.stack([module.network.backbone.read(passage)[0][real] for _ in range(n)])
        return states.mean(0), states.std(0)

    module.train()
    mean, spread = drawn()
    slowly(monkeypatch, gpt2)
    expected_mean, expected_spread = drawn()
    assert float(expected_spread.mean()) > 0.01
    error = expected_spread.mean() * (2 / 300) ** 0.5
    assert float((mean - expected_mean).abs().mean()) < 1.5 * error
    assert float((spread / expected_spread.clamp_min(1e-6)).median()) == pytest.approx(1, abs=0.05)


def test_what_differs_is_read_by_the_models_own_pass(vocabularies, backbones, monkeypatch):
    calls = counted(monkeypatch, gpt2)
    batches = {"gpt2": {}, "gpt-neox": {}, "checkpointed": {"gradient_checkpointing": True}}
    for name, fields in batches.items():
        module = make(vocabularies, backbones.get(name, backbones["gpt2"]), **fields).train()
        module.network.backbone.read(passage_of(module))
        assert len(calls) == 1, name
    module = make(vocabularies, backbones["gpt2"])
    passage, body = passage_of(module), module.network.backbone.bare().base_model
    assert gpt2.readable(body, passage)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not gpt2.readable(body, passage)
    for name in ("add_cross_attention", "reorder_and_upcast_attn"):
        setattr(body.config, name, True)
        assert not gpt2.readable(body, passage)
        setattr(body.config, name, False)
    assert not gpt2.readable(body.double(), passage)
