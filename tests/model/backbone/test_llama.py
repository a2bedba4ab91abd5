"""The fast pass of a Llama gives what Hugging Face's own gives, and is taken where it is meant to be."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from metatoken.model.backbone import llama
from metatoken.model.backbone.passage import Passage
from tests.model.backbone.passes import batch_of, counted, passage_of, slowly
from tests.model.test_passage import MIXTURES, gradients, make


@pytest.mark.parametrize("mixture", MIXTURES)
@torch.no_grad()
def test_states_and_outputs_are_those_of_the_models_own_pass(vocabularies, backbones, mixture, monkeypatch):
    module = make(vocabularies, backbones["llama-untied"]).eval()
    passage, calls = passage_of(module, mixture), counted(monkeypatch, llama)
    found = module.network.backbone.read(passage)
    assert len(calls) == 1
    slowly(monkeypatch, llama)
    expected = module.network.backbone.read(passage)
    real = passage.mask.bool()
    for fast, slow in zip(found, expected, strict=True):
        torch.testing.assert_close(fast[real], slow[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_gradients_are_those_of_the_models_own_pass(vocabularies, backbones, mixture, tuning, monkeypatch):
    module = make(vocabularies, backbones["llama-tied"], tuning=tuning).train()
    for name, weight in module.named_parameters():
        if "lora_B" in name:  # it begins as zero, which no gradient passes
            torch.nn.init.normal_(weight, std=0.1)
    batch, calls = batch_of(module, mixture), counted(monkeypatch, llama)
    loss, found = gradients(module, batch)
    assert len(calls) == 1
    slowly(monkeypatch, llama)
    expected_loss, expected = gradients(module, batch)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    assert found.keys() == expected.keys()
    assert any("lora" in name for name in found) == (tuning == "lora")
    for name, grad in found.items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-4 * max(scale, 1e-3), msg=name)


def test_under_autocast_it_is_as_near_to_float32_as_the_models_own_pass(monkeypatch):
    """Grouped heads, rotary angles that are stretched, positions that leave places out, and padding."""
    torch.manual_seed(0)
    rope = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=8, initializer_range=0.2, rope_parameters=rope,
    )  # fmt: skip
    body = LlamaModel(config).train()
    mask = torch.ones(6, 20, dtype=torch.long)
    mask[::2, 13:] = 0
    positions = torch.arange(20).expand(6, -1) * 2 + 3
    vectors = torch.randn(6, 20, 64, requires_grad=True)
    real, weights = mask.bool(), torch.randn(64)

    def run(*, fast, lower):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
            passage = Passage(vectors, mask, positions)
            assert llama.readable(body, passage)
            if fast:
                states = body.norm(llama.read(body, passage))
            else:
                states = body(inputs_embeds=vectors, attention_mask=mask, position_ids=positions).last_hidden_state
        by = torch.autograd.grad((states[real].float() * weights).square().mean(), [vectors, *body.parameters()][:-1],
                                 allow_unused=True)  # fmt: skip
        return states.detach()[real].float(), torch.cat([one.flatten() for one in by if one is not None])

    truth = run(fast=False, lower=False)
    for fast, own in zip(run(fast=True, lower=True), run(fast=False, lower=True), strict=True):
        found, expected = ((one - truth[len(one.shape) == 1]).norm() for one in (fast, own))
        assert float(found) < 1.5 * float(expected)
    for fast, own in zip(run(fast=True, lower=False), truth, strict=True):
        torch.testing.assert_close(fast, own, rtol=1e-3, atol=1e-4)


def test_products_of_unlike_batches_are_of_few_shapes(vocabularies, backbones, monkeypatch):
    """Each would be compiled, and what was compiled is kept."""
    module = make(vocabularies, backbones["llama-tied"]).train()
    heights, forward = set(), torch.nn.Linear.forward

    def spied(layer, x):
        heights.add(len(x))
        return forward(layer, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", spied)
    for mixture in MIXTURES:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            passage = passage_of(module, mixture)
            heights.clear()
            states = module.network.backbone.states(passage)
        assert states.shape[:2] == passage.mask.shape
        assert heights
        assert all(height % llama.ROWS == 0 for height in heights)


def test_what_differs_is_read_by_the_models_own_pass(vocabularies, backbones, monkeypatch):
    calls = counted(monkeypatch, llama)
    batches = {
        "llama-tied": {},
        "qwen3": {},
        "mistral": {},
        "gemma": {},
        "checkpointed": {"gradient_checkpointing": True},
    }
    for name, fields in batches.items():
        module = make(vocabularies, backbones.get(name, backbones["llama-tied"]), **fields).train()
        module.network.backbone.read(passage_of(module))
        assert len(calls) == 1, name
    module = make(vocabularies, backbones["llama-tied"]).train()
    passage, body = passage_of(module), module.network.backbone.bare().base_model
    assert llama.readable(body, passage)
    with torch.autocast("cpu", dtype=torch.float16):
        assert not llama.readable(body, passage)
    body.config.attention_dropout = 0.1
    assert not llama.readable(body, passage)
    assert llama.readable(body.eval(), passage)
    body.config.hidden_act = "gelu"
    assert not llama.readable(body, passage)
    body.config.hidden_act = "silu"
    assert not llama.readable(body.double(), passage)
