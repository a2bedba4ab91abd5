"""Training against a plain Hugging Face Trainer, and what our module costs beside its backbone.

`python benchmarks/training.py --data LOG --format sequences` (without `--data`: a generated world).

**peer**: `transformers.Trainer` over stored prompt rows, as the published method trains: a row for each target and seen
prompt, the OOV tokens added to the tokenizer and the embedding resized, cross-entropy of the target's tokens over the
whole vocabulary. Same backbone from the same config, same users, targets and prompts, AdamW, learning rate, schedule
and clipping; its batch size is the one that gives a batch as many positions (padding included) as ours with written
histories. Its rows are tokenised beforehand, which it does not pay for. Both are timed between the end of their warm-up
and their last step, in turns; the best time counts. `--history compact`: ours reads an item of a history as one
position, as it does by default, and not as its tokens, which is all that the peer can read.

**loss**: after the same number of supervised targets (ours needs fewer steps for them), the negative log-likelihood of
held-out validation items, nats an item, by one code for both: each token's logits softmaxed over its siblings in the
item trie, so that the probabilities of all items sum to 1. For the peer that is its generation constrained to items, as
it would be decoded. Ours is given for the item head, for generation with leaf vectors and for shared tokens alone.

**overhead**: seconds of forward and backward of our whole training step, of the part that has the size of the catalogue
(item vectors and item head), and of the bare body of the backbone on embeddings of the same positions.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import transformers
from peers.bare_body import overhead
from peers.hugging_face import Rows, pad, peer_loss, train_peer

import metatoken as mt
from metatoken.data import generate_world
from metatoken.evaluate.losses import held_out_losses
from metatoken.model.module import MetaTokenModule
from metatoken.model.objective import loss_parts
from metatoken.tasks.batch import Batch
from metatoken.tasks.prompts import train_tokenizer

HISTORY, RATE, DECAY = 20, 1e-3, 0.01
SIZES = {"dim": 64, "layers": 2, "heads": 2, "dropout": 0.2, "positions": 512}


def make_data(options: argparse.Namespace) -> tuple[Any, Any]:
    if options.data is None:
        log = generate_world(n_users=4000, n_items=2000, seed=0).interactions()
    else:
        log = mt.Interactions.read(options.data, format=options.format)
    split = mt.leave_last_out(log)
    if options.vocabulary is not None and options.vocabulary.is_dir():
        return split, mt.Vocabulary.load(options.vocabulary)
    vocabulary = mt.Vocabulary.fit(split.train, seed=0, threads=options.threads)
    if options.vocabulary is not None:
        vocabulary.save(options.vocabulary)
    return split, vocabulary


def make_module(
    vocabulary: Any, backbone: str = "gpt2-preset", history: str = "written", **fields: Any
) -> MetaTokenModule:
    if backbone == "gpt2-preset":
        fields["preset"] = SIZES
    return MetaTokenModule(
        vocabulary, backbone=backbone, tasks=["sequential"], max_history=HISTORY, history=history,
        learning_rate=RATE, weight_decay=DECAY, warmup_steps=20, **fields,
    )  # fmt: skip


def positions_of(batch: Batch) -> int:
    """Positions of a batch with the words of each row."""
    return len(batch.input_ids) * (batch.words.shape[1] + batch.input_ids.shape[1])


class Clock(L.Callback):
    """Seconds and targets between the end of a warm-up and the last step; stops at a number of targets."""

    def __init__(self, warmup: int, targets: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.warmup, self.limit = warmup, targets
        self.seen = self.timed = self.steps = self.positions = 0
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Batch, number: int) -> None:  # noqa: ARG002, D102
        self.steps += 1
        self.seen += len(batch.targets)
        self.positions += positions_of(batch)
        if self.steps == self.warmup:
            self.begin = self.clock()
        elif self.steps > self.warmup:
            self.timed += len(batch.targets)
            self.seconds = self.clock() - self.begin
        if self.seen >= self.limit:
            trainer.should_stop = True


def train_ours(split: Any, vocabulary: Any, options: argparse.Namespace, targets: int) -> tuple[MetaTokenModule, Clock]:
    module = make_module(vocabulary, history=options.history)
    data = mt.TaskDataModule(split, vocabulary, tasks=module.tasks, batch_size=options.batch_size)
    clock = Clock(options.warmup, targets, options.now)
    steps = max(options.warmup + 2, round(targets / options.per_step))
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, gradient_clip_val=1.0, callbacks=[clock],
    )  # fmt: skip
    trainer.fit(module, data)
    return module, clock


@torch.no_grad()
def shared_loss(module: MetaTokenModule, split: Any, limit: int) -> float:
    """As `held_out_losses`, the last token by its shared vector."""
    from metatoken.evaluate.losses import _batch

    module.eval()
    targets, history = split.targets("validation"), split.history("validation")
    order = np.argsort(history.lengths[targets.users], kind="stable")
    if limit < len(order):
        order = order[np.sort(np.random.default_rng(0).choice(len(order), limit, replace=False))]
    total = 0.0
    for at in range(0, len(order), 32):
        rows = order[at : at + 32]
        scores = module.network(
            _batch(module, [history[user] for user in targets.users[rows]], targets.items[rows]), text=False
        )
        total -= float(sum(t.sum() for t in scores.tokens[:-1]) + scores.shared.sum())
    return total / len(order)


def compare(split: Any, vocabulary: Any, options: argparse.Namespace) -> dict[str, Any]:
    # The peer reads token ids alone: its rows, and as many positions as theirs, are of written histories.
    module = make_module(vocabulary)
    data = mt.TaskDataModule(split, vocabulary, tasks=module.tasks, batch_size=options.batch_size)
    batches = [b for b, _ in zip(plan(module, data), range(20), strict=False)]
    positions = np.mean([positions_of(b) for b in batches])
    options.per_step = np.mean([len(b.targets) for b in batches])
    rows = Rows(module, split, options.targets)
    size = 16
    for _ in range(5):  # its padding depends on its batch size
        width = np.mean([pad([rows[i + k] for k in range(size)])["input_ids"].shape[1] for i in range(0, 20 * 8, 8)])
        size = max(1, round(positions / width))
    best = {"ours": 0.0, "peer": 0.0}
    count = options.targets if options.part == "loss" else round(options.per_step * (options.warmup + 12))
    peer_count = options.targets if options.part == "loss" else size * (options.warmup + 12)
    rows.rows = rows.rows[:peer_count]
    for _ in range(1 if options.part == "loss" else options.repeat):
        ours, clock = train_ours(split, vocabulary, options, count)
        best["ours"] = max(best["ours"], clock.timed / clock.seconds)
        peer, peer_clock = train_peer(rows, module, size, options.warmup, RATE, DECAY, options.now)
        best["peer"] = max(best["peer"], peer_clock.timed_steps * size / peer_clock.seconds)
    report: dict[str, Any] = {
        "positions_per_step": round(float(positions)), "targets_per_step": round(float(options.per_step)),
        "peer_batch_size": size, "targets_per_second": {k: round(v, 1) for k, v in best.items()},
        "ratio": round(best["ours"] / best["peer"], 2),
    }  # fmt: skip
    if options.part == "speed":
        return report
    losses = held_out_losses(ours, split, limit=options.users)
    report["loss"] = {
        "targets": {"ours": clock.seen, "peer": len(rows)},
        "peer": round(peer_loss(peer, module, split, options.users), 3),
        "ours, item head": round(losses["item"], 3),
        "ours, generation": round(losses["generation"], 3),
        "ours, shared tokens": round(shared_loss(ours, split, options.users), 3),
    }
    return report


def plan(module: MetaTokenModule, data: Any) -> Iterator[Batch]:
    """The batches of a first epoch, without a trainer."""
    data.connect(module.reader)
    batches = data.training_batches()
    return (batches[0, number] for number in range(len(batches)))


def overheads(split: Any, vocabulary: Any, options: argparse.Namespace) -> dict[str, Any]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(["sequential"])
        tokenizer.save_pretrained(folder)
        transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=len(tokenizer), hidden_size=576, intermediate_size=1536, num_hidden_layers=6,
                num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
            )
        ).save_pretrained(folder)  # fmt: skip
        for name, module in (
            ("gpt2-preset, dim 64, 2 layers", make_module(vocabulary)),
            ("Llama, dim 576, 6 layers, trained in full", make_module(vocabulary, folder, tuning="full")),
        ):
            data = mt.TaskDataModule(split, vocabulary, tasks=module.tasks, batch_size=options.batch_size)
            batch = min(
                (b for b, _ in zip(plan(module, data), range(9), strict=False)), key=lambda b: b.input_ids.numel()
            )
            found[name] = overhead(module, batch, options.repeat, options.now)
    return found


def profile(split: Any, vocabulary: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Where a step's time goes: data, forward, backward, optimiser; and the dearest operations."""
    module, clock = make_module(vocabulary).train(), options.now
    data = mt.TaskDataModule(split, vocabulary, tasks=module.tasks, batch_size=options.batch_size)
    iterator = plan(module, data)
    next(iterator)
    begin = clock()
    batches = [next(iterator) for _ in range(10)]
    seconds = {"data": (clock() - begin) / 10}
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=RATE, fused=True)
    seconds |= dict.fromkeys(("forward", "backward", "optimiser"), 0.0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        for batch in batches:
            t = [clock()]
            loss = loss_parts(module.network(batch), module.settings.weights)["loss"]
            t.append(clock())
            loss.backward()
            t.append(clock())
            optimizer.step()
            optimizer.zero_grad()
            t.append(clock())
            for name, a, b in zip(("forward", "backward", "optimiser"), t, t[1:], strict=False):
                seconds[name] += (b - a) / 10
    print(trace.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40))
    return {name: round(value, 4) for name, value in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("speed", "loss", "overhead", "profile"), default="loss")
    parser.add_argument("--data", type=Path, help="a log; without it a world is generated")
    parser.add_argument("--format", default="sequences", help="of the log")
    parser.add_argument("--vocabulary", type=Path, help="read from here, or written to here")
    parser.add_argument("--batch-size", type=int, default=128, help="our rows in a step")
    parser.add_argument("--targets", type=int, default=30_000, help="supervised targets before losses are compared")
    parser.add_argument("--history", choices=("written", "compact"), default="written", help="what ours reads")
    parser.add_argument("--users", type=int, default=2000, help="validation users")
    parser.add_argument("--warmup", type=int, default=3, help="steps that are not timed")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine with other load")
    parser.add_argument("--output", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.now = time.perf_counter if options.clock == "wall" else time.process_time
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    split, vocabulary = make_data(options)
    works = {"speed": compare, "loss": compare, "overhead": overheads, "profile": profile}
    report = {
        "part": options.part, "users": split.log.n_users, "items": split.log.n_items, "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(), "cores": os.cpu_count(), "threads": options.threads,
        "clock": options.clock, "history": options.history,
        "load": round(os.getloadavg()[0], 1), "torch": torch.__version__,
        "transformers": transformers.__version__,
        "lightning": L.__version__, "result": works[options.part](split, vocabulary, options),
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if options.output is not None:
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
