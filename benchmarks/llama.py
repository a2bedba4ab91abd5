"""A step of SmolLM2's blocks, forward and backward, by our pass and by Hugging Face's own, in turns.

    python benchmarks/llama.py                                        # 8 blocks, adapters, bf16 autocast
    python benchmarks/llama.py --layers 30 --precision f32 --tuning full

Prints processor seconds of a step with one thread, positions a second, and the ratio. Weights are random ones of the
same shape, which take the same time and need nothing installed; both ways read the same vectors with the same weights.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaModel
from turns import medians

from metatoken.model.backbone import llama
from metatoken.model.backbone.passage import Passage


def make(layers: int, tuning: str) -> tuple[Any, Any]:
    """The body, and the model with adapters around it."""
    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9, vocab_size=8,
        num_key_value_heads=3, max_position_embeddings=8192,
    )  # fmt: skip
    body = LlamaModel(config).train()
    if tuning == "full":
        return body, body
    adapters = LoraConfig(r=32, lora_alpha=64, target_modules=["q_proj", "v_proj"])
    return body, get_peft_model(body, adapters).train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=110, help="positions of a row; every other row has a fifth less")
    parser.add_argument("--tuning", choices=["lora", "full"], default="lora")
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    body, model = make(args.layers, args.tuning)
    vectors = torch.randn(args.rows, args.length, 576, requires_grad=True)
    mask = torch.ones(args.rows, args.length, dtype=torch.long)
    mask[::2, -(args.length // 5) :] = 0
    passage = Passage(vectors, mask)

    def theirs() -> Tensor:
        found: Tensor = body(inputs_embeds=vectors, attention_mask=mask, use_cache=False).last_hidden_state
        return found

    def ours() -> Tensor:
        found: Tensor = body.norm(llama.read(body, passage))
        return found

    def step(states: Any) -> Any:
        def run() -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                found = states()
            (found.float() * mask[..., None]).square().mean().backward()
            model.zero_grad()

        return run

    took = medians({"Hugging Face's own pass": step(theirs), "ours": step(ours)}, args.rounds + 1)
    first = next(iter(took.values()))
    print(f"{args.layers} blocks, {args.rows} x {args.length} positions, {args.tuning}, {args.precision}")
    print("| | s | positions a second | ratio |\n|---|---|---|---|")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.2f} | {int(mask.sum()) / seconds:,.0f} | {first / seconds:.2f} |")


if __name__ == "__main__":
    main()
