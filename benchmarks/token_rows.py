"""Memory that trainable new tokens cost in a training step: a table of their own against PEFT's token training.

    python benchmarks/token_rows.py --output token_rows.json

Each way runs in a process of its own: a causal model of one block with a large tied table is built, one forward and
backward pass over its final states is made to warm up, then the peak of resident memory during a second pass is taken
over what was resident before it. `bare` has LoRA layers only and is subtracted. Linux only (`/proc/self/clear_refs`).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

WAYS = ("bare", "metatoken", "peft")
LORA: dict[str, Any] = {"r": 8, "target_modules": ["q_proj", "v_proj"]}


def build(way: str, rows: int, tokens: int, dim: int) -> Any:
    """The model with its trainable parts, new tokens having the ids `rows .. rows + tokens`."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from metatoken.model.embedding import TokenTable, install

    sizes = {"hidden_size": dim, "intermediate_size": 2 * dim, "num_hidden_layers": 1, "num_attention_heads": 8}
    model = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=rows, tie_word_embeddings=True))
    if way == "peft":
        model.resize_token_embeddings(rows + tokens, mean_resizing=False)
        trained = {"trainable_token_indices": {"embed_tokens": list(range(rows, rows + tokens))}}
        return get_peft_model(model, LoraConfig(**LORA, **trained))
    adapted = get_peft_model(model, LoraConfig(**LORA))
    if way == "metatoken":
        table = TokenTable(torch.randn(tokens, 64), dim, norm=1.0)
        install(adapted.get_base_model(), table, rows)
        adapted.table = table
    return adapted


def resident(name: str) -> float:
    """VmRSS or VmHWM of this process in megabytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1]) / 1024


def measure(way: str, rows: int, tokens: int, dim: int) -> dict[str, float]:
    """Peak megabytes of a pass over what was resident before, and what the trained rows add to the parameters."""
    torch.manual_seed(0)
    model = build(way, rows, tokens, dim)
    top = rows if way == "bare" else rows + tokens
    ids = torch.randint(top - tokens, top, (8, 64))

    def step() -> None:
        model.get_base_model().base_model(input_ids=ids).last_hidden_state.square().mean().backward()
        model.zero_grad(set_to_none=True)

    step()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    step()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) * 4 / 2**20
    return {"peak": resident("VmHWM") - before, "trained": trained}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=131_072)
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--dim", type=int, default=576)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = (options.rows, options.tokens, options.dim)
    if options.way is not None:
        print(json.dumps(measure(options.way, *size)))
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--way"]
    found = {
        way: json.loads(subprocess.run([*command, way], check=True, capture_output=True, text=True).stdout)
        for way in WAYS
    }
    table = options.rows * options.dim * 4 / 2**20
    new = options.tokens * options.dim * 4 / 2**20
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    print(f"torch {version('torch')}, transformers {version('transformers')}, peft {version('peft')}")
    print(f"table of {table:.0f} MB, {options.tokens} new rows of {new:.1f} MB")
    extra = {way: found[way]["peak"] - found["bare"]["peak"] for way in WAYS[1:]}
    for way, value in extra.items():
        trained = found[way]["trained"] - found["bare"]["trained"]
        print(f"{way}: {value:+.1f} MB at the peak of a step over bare LoRA, {trained:.1f} MB of trained weights")
    if options.output is not None:
        document = {
            "size": vars(options) | {"output": None},
            "found": found,
            "extra": extra,
            "table": table,
            "new": new,
        }
        options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
