"""Questions that are read once for all texts behind them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config, LlamaConfig, MistralConfig, Qwen3Config

from metatoken.decode.read_once import read_once
from metatoken.decode.text import in_bfloat16

SMALL: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = SMALL | {"num_key_value_heads": 2, "intermediate_size": 32, "head_dim": 4}
CONFIGS = {
    "gpt2": GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=4, n_positions=64),
    "llama": LlamaConfig(**WIDE),
    "qwen3": Qwen3Config(**WIDE),
    "a window of six positions": MistralConfig(**WIDE, sliding_window=6),
}
WAYS: dict[str, dict[str, Any]] = {
    "draws": {"do_sample": True, "num_return_sequences": 5, "top_k": 0},
    "beams": {"num_beams": 4, "num_return_sequences": 3},
    "drawn beams": {"do_sample": True, "num_beams": 4, "top_k": 0},
}


def written(model: Any, vectors: torch.Tensor, mask: torch.Tensor, **how: Any) -> torch.Tensor:
    torch.manual_seed(0)
    found: torch.Tensor = model.generate(
        inputs_embeds=vectors, attention_mask=mask, max_new_tokens=12, min_new_tokens=3, eos_token_id=2, pad_token_id=2,
        **how,
    )  # fmt: skip
    return found


@pytest.fixture
def questions() -> tuple[torch.Tensor, torch.Tensor]:
    """Four of them, of 9, 1, 5 and 2 positions, on the right."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 1, 5, 2])
    mask = (torch.arange(9) >= 9 - lengths[:, None]).long()
    return torch.randn(4, 9, 16, generator=generator) * 2, mask


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_texts_are_those_of_questions_that_are_read_for_each(
    config: Any, way: dict[str, Any], questions: tuple[torch.Tensor, torch.Tensor]
) -> None:
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    vectors, mask = questions
    times = max(way.get("num_beams", 1), way.get("num_return_sequences", 1))
    sizes: list[int] = []

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        if given.get("inputs_embeds") is not None:
            sizes.append(given["inputs_embeds"].shape[:2].numel())

    model.base_model.register_forward_pre_hook(count, with_kwargs=True)
    plain = written(model, vectors, mask, **way)
    alone, sizes[:] = max(sizes), []
    found = written(model, vectors, mask, **way, **read_once(model, vectors, mask, times))
    assert torch.equal(found, plain)
    assert alone == 4 * 9 * times
    assert max(sizes) == 4 * 8


def test_what_cannot_be_repeated_is_read_by_generate(questions: tuple[torch.Tensor, torch.Tensor]) -> None:
    vectors, mask = questions
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"]).eval()
    assert read_once(model, vectors, mask, 1) == {}
    assert read_once(model, vectors[:, -1:], mask[:, -1:], 4) == {}
    by_distance = AutoModelForCausalLM.from_config(BloomConfig(**SMALL)).eval()  # it is told no positions
    assert read_once(by_distance, vectors, mask, 4) == {}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_copy_in_bfloat16_keeps_ties_and_the_angles_of_positions(config: Any) -> None:
    model = AutoModelForCausalLM.from_config(config).eval()
    weights, frequencies = model.state_dict(), [one for name, one in model.named_buffers() if "inv_freq" in name]
    half = in_bfloat16(model)
    assert {one.dtype for one in half.parameters()} == {torch.bfloat16}
    for name, weight in half.state_dict().items():
        assert torch.equal(weight, weights[name].to(weight.dtype))
    assert len(list(half.parameters())) == len(list(model.parameters()))
    kept = [one for name, one in half.named_buffers() if "inv_freq" in name]
    assert len(kept) == len(frequencies)
    assert all(torch.equal(one, other) for one, other in zip(kept, frequencies, strict=True))
    ids = torch.randint(40, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, rounded = model(ids).logits, half(ids).logits
    assert rounded.dtype == torch.bfloat16
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    torch.testing.assert_close(rounded.float(), exact, atol=0.03, rtol=0.05)
