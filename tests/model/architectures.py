"""Tiny random models of every supported family, saved as plain Hugging Face folders with a tokenizer beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from metatoken.tasks.prompts import train_tokenizer

DIM = 32
UNUSED = 7  # rows of each table beyond the tokenizer, as T5 and Qwen have
PLAIN = {
    "hidden_size": DIM, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 256, "initializer_range": 0.2,
}  # fmt: skip
GROUPED = PLAIN | {"num_key_value_heads": 1, "head_dim": 16}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _gpt2(n: int) -> Any:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=n, n_embd=DIM, n_layer=2, n_head=2, n_positions=256, initializer_range=0.2, **SPECIAL)
    )


def _t5(n: int, *, tied: bool) -> Any:
    config = T5Config(
        vocab_size=n, d_model=DIM, d_kv=16, d_ff=48, num_layers=1, num_heads=2, decoder_start_token_id=0,
        feed_forward_proj="relu" if tied else "gated-gelu", tie_word_embeddings=tied, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    if not tied:
        # transformers 5 builds every T5 tied; one from before, such as Flan-T5, comes with a head of its own.
        model.lm_head.weight = torch.nn.Parameter(torch.randn(n, DIM))
        config.tie_word_embeddings = False
    return model


def _llama(n: int, *, tied: bool) -> Any:
    return LlamaForCausalLM(LlamaConfig(**GROUPED, **SPECIAL, vocab_size=n, tie_word_embeddings=tied))


ARCHITECTURES: dict[str, Callable[[int], Any]] = {
    "llama-tied": lambda n: _llama(n, tied=True),
    "llama-untied": lambda n: _llama(n, tied=False),
    "qwen3": lambda n: Qwen3ForCausalLM(Qwen3Config(**GROUPED, **SPECIAL, vocab_size=n, tie_word_embeddings=True)),
    "gemma": lambda n: GemmaForCausalLM(GemmaConfig(**GROUPED, **SPECIAL, vocab_size=n)),
    "mistral": lambda n: MistralForCausalLM(MistralConfig(**GROUPED, **SPECIAL, vocab_size=n)),
    "phi": lambda n: PhiForCausalLM(PhiConfig(**PLAIN, **SPECIAL, vocab_size=n)),
    "gpt2": _gpt2,
    "gpt-neox": lambda n: GPTNeoXForCausalLM(GPTNeoXConfig(**PLAIN, **SPECIAL, vocab_size=n)),
    "t5-tied": lambda n: _t5(n, tied=True),
    "t5-separate": lambda n: _t5(n, tied=False),
}


def write_backbone(name: str, folder: Path) -> Path:
    """Saves a tiny model of one family with norms of random gain and bias, and a tokenizer."""
    tokenizer = train_tokenizer(["sequential", "direct"])
    torch.manual_seed(0)
    model = ARCHITECTURES[name](len(tokenizer) + UNUSED)
    with torch.no_grad():
        for label, p in model.named_parameters():
            if p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.2)  # a fresh model has gains of 1 and biases of 0, which hide mistakes
            assert torch.isfinite(p).all(), label
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
