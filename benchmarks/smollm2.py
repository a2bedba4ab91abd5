"""A real pretrained language model against the same architecture from random weights, on MovieLens with titles.

    python benchmarks/smollm2.py --weights pretrained --steps 100 --seed 0 --output pretrained-0.json
    python benchmarks/smollm2.py --weights random --steps 100 --seed 0 --output random-0.json
    python benchmarks/smollm2.py --pace --threads 2        # what each way to save costs and gives, a table

Both read the same rows in the same order, make the same number of steps and train the same weights: all of them, since
an adapter on frozen noise would be a straw man (`--tuning lora` shows the usual way). The pretrained model is
SmolLM2-135M cut to its first `--layers` blocks, the other one has fresh weights of the same shape. Reported: losses of
the held-out validation items (the item, and the words of its title; in float32), HR@10 and NDCG@10 over the full
catalogue with seen items removed, trained targets and tokens a second, and the largest memory of the process.

`--pace` starts a process for each line of a table: all weights trained on histories that are written token by token
with titles, as the first version did, and then one saving after the other.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import metatoken as mt
from metatoken.evaluate.losses import held_out_losses
from metatoken.model.backbone import llama, smollm2
from metatoken.model.module import MetaTokenModule

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "movielens_small"


class Pace(L.Callback):
    """Counts tokens and seconds of training steps after the first few, which warm the machine up."""

    def __init__(self, skip: int = 3) -> None:
        self.skip, self.tokens, self.targets, self.seconds, self.losses = skip, 0, 0, 0.0, []

    def on_train_batch_start(self, *_: Any) -> None:
        """Starts the clock."""
        self.began = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, _: Any, outputs: Any, batch: Any, *__: Any) -> None:
        """Stops it."""
        self.losses.append(float(outputs["loss"]))
        if trainer.global_step > self.skip:
            self.tokens += int(batch.attention_mask.sum())
            self.targets += len(batch.targets)
            self.seconds += time.perf_counter() - self.began
        if trainer.global_step % 10 == 0:
            print(f"step {trainer.global_step}: loss {sum(self.losses[-10:]) / 10:.3f}", file=sys.stderr, flush=True)


def random_twin(layers: int, seed: int, folder: Path) -> str:
    """The same architecture and tokenizer with fresh weights, as a folder."""
    source = smollm2.prepare()
    config = AutoConfig.from_pretrained(source)
    config.num_hidden_layers = layers
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


def build(args: argparse.Namespace, vocabulary: mt.Vocabulary) -> MetaTokenModule:
    fields: dict[str, Any] = {
        "tasks": ["sequential"], "titles": args.titles, "title_tokens": args.title_tokens, "max_history": args.history,
        "learning_rate": args.learning_rate, "warmup_steps": 20, "seed": args.seed, "tuning": args.tuning,
        "history": args.form, "item_dim": args.item_dim,
    }  # fmt: skip
    if args.weights == "pretrained":
        return MetaTokenModule(vocabulary, backbone=smollm2.NAME, layers=args.layers, **fields)
    with tempfile.TemporaryDirectory() as folder:
        twin = random_twin(args.layers, args.seed, Path(folder))
        return MetaTokenModule(vocabulary, backbone=twin, **fields)


SAVINGS: dict[str, list[str]] = {
    "all weights, items written, titles, blocks as they come": ["--form", "written", "--batch-size", "4", "--own-pass"],
    "our pass over the blocks": ["--form", "written", "--batch-size", "4"],
    "one position an item": ["--form", "compact", "--batch-size", "4"],
    "steps of 32 histories": ["--form", "compact", "--batch-size", "32"],
    "adapters (LoRA)": ["--form", "compact", "--batch-size", "32", "--tuning", "lora"],
    "item vectors of 64 numbers": ["--form", "compact", "--batch-size", "32", "--tuning", "lora", "--item-dim", "64"],
    "no titles": [
        "--form", "compact", "--batch-size", "32", "--tuning", "lora", "--item-dim", "64", "--no-titles",
    ],
}  # fmt: skip
"""What `--pace` measures, each line with one saving more than the one above."""


def measure_pace(args: argparse.Namespace) -> None:
    """Prints the table of `--pace`."""
    print("| | targets a second | tokens a second | memory, GB |\n|---|---|---|---|")
    for name, options in SAVINGS.items():
        common = ["--users", "0", "--steps", str(args.steps), "--threads", str(args.threads)]
        common += ["--layers", str(args.layers), "--precision", args.precision, "--data", str(args.data)]
        done = subprocess.run([sys.executable, __file__, *common, *options], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout[done.stdout.index("{") :])
        values = [f"{found[key]:g}" for key in ("targets_per_second", "tokens_per_second", "peak_memory_gb")]
        print(f"| {name} | {' | '.join(values)} |", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", choices=["pretrained", "random"], default="pretrained")
    parser.add_argument("--tuning", choices=["full", "lora"], default="full")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=4, help="histories in a step")
    parser.add_argument("--history", type=int, default=12, help="items in a history")
    parser.add_argument("--form", choices=["compact", "written"], help="how histories name items; by default compact")
    parser.add_argument("--titles", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--title-tokens", type=int, default=8)
    parser.add_argument("--item-dim", type=int, help="width of item vectors; by default that of the backbone")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="bf16-mixed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accelerator", default="cpu", help="of Lightning; losses are computed on the processor")
    parser.add_argument("--users", type=int, default=610, help="validated users, drawn once; 0: only pace and memory")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with ratings.csv and movies.csv")
    parser.add_argument("--output", type=Path, help="write the result as JSON, too")
    parser.add_argument("--own-pass", action="store_true", help="read blocks by Hugging Face's own forward pass")
    parser.add_argument("--pace", action="store_true", help="measure the savings, one after the other, and stop")
    parser.add_argument("--twin", type=Path, help="write the model with random weights into this folder, and stop")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.pace:
        measure_pace(args)
        return
    torch.set_num_threads(args.threads)
    if args.own_pass:
        llama.readable = lambda _body, _passage: False
    if args.twin is not None:
        print(random_twin(args.layers, args.seed, args.twin))
        return
    if not args.data.is_dir():
        print(f"{args.data} is missing; name a folder with MovieLens' ratings.csv and movies.csv with --data")
        return

    log = mt.Interactions.read(
        args.data / "ratings.csv", user="userId", item="movieId", time="timestamp", rating="rating",
        items=args.data / "movies.csv", item_id="movieId", title="title",
    )  # fmt: skip
    split = mt.leave_last_out(log)
    vocabulary = mt.Vocabulary.fit(split.train, seed=args.seed, threads=args.threads)
    started = time.perf_counter()
    module = build(args, vocabulary)
    data = mt.TaskDataModule(split, vocabulary, tasks=module.tasks, batch_size=args.batch_size, seed=args.seed)
    pace = Pace()
    trainer = L.Trainer(
        max_steps=args.steps, precision=args.precision, accelerator=args.accelerator, gradient_clip_val=1.0,
        callbacks=[pace], logger=False, enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=False, limit_val_batches=0,
    )  # fmt: skip
    result: dict[str, Any] = {name: value for name, value in vars(args).items() if name not in ("data", "output")}
    result |= {
        "machine": platform.processor() or platform.machine(), "cpu": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(), "torch": torch.__version__,
        "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "weights_in_all": sum(p.numel() for p in module.parameters()),
    }  # fmt: skip
    trainer.fit(module, data)
    result |= {
        "tokens_per_second": round(pace.tokens / pace.seconds, 1), "train_seconds": round(pace.seconds, 1),
        "targets_per_second": round(pace.targets / pace.seconds, 1),
    }  # fmt: skip
    result["peak_memory_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    result["train_loss"] = sum(pace.losses[-10:]) / len(pace.losses[-10:])
    if args.users:
        result["validation"] = held_out_losses(module, split, batch_size=32, limit=args.users)  # in float32
    result["seconds"] = round(time.perf_counter() - started, 1)
    result["cpu_seconds"] = round(time.process_time(), 1)  # of all threads, imports and tokens included
    text = json.dumps(result, indent=2)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
