"""A step of SmolLM2's blocks, forward and backward, by our pass and by Hugging Face's own, in turns.

    python benchmarks/llama.py                                        # 8 blocks, adapters, bf16 autocast
    python benchmarks/llama.py --layers 30 --precision f32 --tuning full

Prints processor seconds of a step with one thread, and the ratio. Batches grow from step to step, as no two of a
training are alike; `--alike` has them all of one length. Weights are random ones of the same shape, which take the same
time and need nothing installed; both ways read the same vectors with the same weights.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaModel
from turns import medians

from metatoken.model.backbone import llama
from metatoken.model.backbone.passage import Passage

UNLIKE = 3  # positions that the rows of a batch are longer than those of the one before


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
    parser.add_argument("--alike", action="store_true", help="batches of one length")
    parser.add_argument("--tuning", choices=["lora", "full"], default="lora")
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    body, model = make(args.layers, args.tuning)
    longest = args.length + UNLIKE * args.rounds
    given = torch.randn(args.rows, longest, 576)

    def passage(n: int) -> Passage:
        """The n-th batch, whose rows are longer than those of the one before unless all are to be alike."""
        length = args.length + (0 if args.alike else UNLIKE * n)
        mask = torch.ones(args.rows, length, dtype=torch.long)
        mask[::2, -(length // 5) :] = 0
        return Passage(given[:, :length].clone().requires_grad_(), mask)

    def theirs(batch: Passage) -> Tensor:
        found: Tensor = body(inputs_embeds=batch.vectors, attention_mask=batch.mask, use_cache=False).last_hidden_state
        return found

    def ours(batch: Passage) -> Tensor:
        found: Tensor = body.norm(llama.read(body, batch))
        return found

    def step(states: Any) -> Any:
        batches = map(passage, itertools.count())

        def run() -> None:
            batch = next(batches)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                found = states(batch)
            (found.float() * batch.mask[..., None]).square().mean().backward()
            model.zero_grad()

        return run

    took = medians({"Hugging Face's own pass": step(theirs), "ours": step(ours)}, args.rounds)
    first = next(iter(took.values()))
    print(f"{args.layers} blocks, {args.rows} x {args.length} positions, {args.tuning}, {args.precision}")
    print("| | s | ratio |\n|---|---|---|")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.2f} | {first / seconds:.2f} |")


if __name__ == "__main__":
    main()
