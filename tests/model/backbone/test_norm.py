"""States before the final norm's gain, and heads folded behind it."""

import pytest
import torch
from torch import nn
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from metatoken.errors import ConfigError
from metatoken.model.backbone.norm import FinalNorm, final_norm, text_scale
from metatoken.model.backbone.presets import build_preset

DIM = 24
KINDS = {
    "rms": lambda: LlamaRMSNorm(DIM),
    "torch-rms": lambda: nn.RMSNorm(DIM),
    "gemma": lambda: GemmaRMSNorm(DIM),
    "t5": lambda: T5LayerNorm(DIM),
    "layer": lambda: nn.LayerNorm(DIM),
    "layer-no-bias": lambda: nn.LayerNorm(DIM, bias=False),
}


def _behind(module):
    """A model whose final norm is `module`."""
    model = build_preset("gpt2-preset", 50, {"dim": DIM, "layers": 1, "heads": 1})
    model.transformer.ln_f = module
    return model


def _random(kind, seed=0):
    torch.manual_seed(seed)
    module = KINDS[kind]()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    return FinalNorm.of(_behind(module))


@pytest.mark.parametrize("length", [1e-2, 1.0, 50.0])  # a short state feels the norm's epsilon
@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_folded_head_scores_the_output_as_the_vectors_score_the_state(kind, head_bias, length):
    norm = _random(kind)
    x, v = torch.randn(9, DIM) * length + 0.1 * length, torch.randn(7, DIM) / 0.07
    rows, bias = norm.fold(v, head_bias=head_bias)
    found = norm.module(x) @ rows.T + bias
    expected = norm.state(x) @ v.T
    assert float((found - expected).detach().abs().max()) <= 1e-5 * float(expected.abs().max())
    assert head_bias or not bias.any()


def test_states_have_length_one():
    for kind in KINDS:
        lengths = _random(kind).state(torch.randn(5, DIM) * 10).norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(5), atol=1e-4, rtol=0)


def test_what_cannot_be_folded_is_refused():
    norm = _random("layer")
    with torch.no_grad():
        norm.module.bias.copy_(norm.module.weight * torch.tensor([1.0, -1.0]).repeat(DIM // 2))
    with pytest.raises(ConfigError, match="bias that cannot be folded"):
        norm.fold(torch.randn(3, DIM))
    norm.fold(torch.randn(3, DIM), head_bias=True)
    with torch.no_grad():
        norm.module.weight[3] = 0
    with pytest.raises(ConfigError, match="gain of zero"):
        norm.fold(torch.randn(3, DIM))


class _Tanh(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x):
        return torch.tanh(x) * self.weight


@pytest.mark.parametrize("module", [_Tanh(), nn.Identity()])
def test_an_unknown_norm_is_refused(module):
    with pytest.raises(ConfigError, match="final norm"):
        FinalNorm.of(_behind(module))


def test_a_model_without_a_final_norm_is_refused():
    model = build_preset("gpt2-preset", 50, {"dim": DIM, "layers": 1, "heads": 1})
    del model.transformer.ln_f
    with pytest.raises(ConfigError, match="no final norm"):
        final_norm(model)


SIZES = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": 50}
T5 = {
    "t5": (T5Config, T5ForConditionalGeneration),
    "mt5": (MT5Config, MT5ForConditionalGeneration),
    "umt5": (UMT5Config, UMT5ForConditionalGeneration),
    "switch": (SwitchTransformersConfig, SwitchTransformersForConditionalGeneration),
}


@pytest.mark.parametrize("kind", T5)
@pytest.mark.parametrize("tied", [True, False])
def test_the_factor_before_a_text_head_is_that_of_the_model(kind, tied):
    config, model = T5[kind]
    extra = {"num_sparse_encoder_layers": 0, "num_sparse_decoder_layers": 0} if kind == "switch" else {}
    made = model(config(**SIZES, **extra, tie_word_embeddings=tied, decoder_start_token_id=0)).eval()
    read = []
    made.lm_head.register_forward_pre_hook(lambda _head, inputs: read.append(inputs[0]))
    made.decoder.final_layer_norm.register_forward_hook(lambda _norm, _inputs, out: read.append(out))
    with torch.no_grad():
        made(input_ids=torch.tensor([[3, 4]]), decoder_input_ids=torch.tensor([[0, 7]]))
    out, into = read
    torch.testing.assert_close(out * text_scale(made), into)
