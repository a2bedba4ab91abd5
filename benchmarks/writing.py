"""Tokens a second of texts behind questions: by transformers' `generate` alone, and in the ways of this package.

    python benchmarks/writing.py --threads 2             # SmolLM2-135M, which has to be installed
    python benchmarks/writing.py --model FOLDER

Each of `--questions` questions of `--length` words of some vocabulary (one is half as long, so that rows are padded)
gets `--texts` draws, or beams with `--beams`, of exactly `--tokens` tokens, from the same seed. The second line reads a
question once for all its texts, the third does so in bfloat16, the copy of the weights included. The ratio is the time
of `generate` alone over that of the line, each the fastest of `--repeats` rounds that run every line once. Texts of the
second line are those of the first but for rounding.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from metatoken.decode.read_once import read_once
from metatoken.decode.text import in_bfloat16
from metatoken.model.backbone import smollm2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=smollm2.NAME, help="folder of a causal model")
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--length", type=int, default=96, help="positions of a question")
    parser.add_argument("--texts", type=int, default=8, help="of each question")
    parser.add_argument("--tokens", type=int, default=32, help="of each text")
    parser.add_argument("--beams", action="store_true", help="of a search in place of draws")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


class Questions:
    """Drawn words, padded on the left.

    Attributes:
        vectors: float `[n, length, d]`.
        mask: int64 `[n, length]`.
    """

    def __init__(self, model: Any, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        table = model.get_input_embeddings().weight
        ids = torch.randint(len(table), (args.questions, args.length))
        self.vectors, self.mask = table[ids].detach(), torch.ones_like(ids)
        self.mask[0, : args.length // 2] = 0


@torch.no_grad()
def written(model: Any, questions: Questions, args: argparse.Namespace, *, once: bool, half: bool) -> torch.Tensor:
    """Token ids of all texts, int64 `[questions * texts, tokens]`."""
    model = in_bfloat16(model) if half else model
    vectors, mask = questions.vectors.to(model.dtype), questions.mask
    read = read_once(model, vectors, mask, args.texts) if once else {}
    drawn = {"do_sample": True, "temperature": 0.5, "top_k": 0}
    how = {"num_beams": args.texts} if args.beams else drawn
    torch.manual_seed(1)
    found: torch.Tensor = model.generate(
        inputs_embeds=vectors, attention_mask=mask, num_return_sequences=args.texts, pad_token_id=0,
        min_new_tokens=args.tokens, max_new_tokens=args.tokens, **how, **read,
    )  # fmt: skip
    return found


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(smollm2.resolve(args.model), dtype=torch.float32).eval()
    model.generation_config = GenerationConfig()  # nothing that a folder says of writing
    questions = Questions(model, args)
    lines = {
        "generate alone": {"once": False, "half": False},
        "questions read once": {"once": True, "half": False},
        "questions read once, bfloat16": {"once": True, "half": True},
    }
    best, texts = dict.fromkeys(lines, float("inf")), {}
    for _ in range(args.repeats):
        for name, how in lines.items():
            began = time.perf_counter()
            texts[name] = written(model, questions, args, **how)
            best[name] = min(best[name], time.perf_counter() - began)
    alone, second, _ = lines
    print("| | tokens a second | ratio |\n|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {texts[name].numel() / seconds:.0f} | {best[alone] / seconds:.2f} |")
    same = (texts[alone] == texts[second]).all(dim=1).float().mean()
    print(f"{same:.0%} of the texts of the second line are those of the first")


if __name__ == "__main__":
    main()
