"""Variants of one configuration against each other: the same log, split and tokens, several seeds, validation metrics.

    python benchmarks/variants.py configs/musical_instruments.yaml --seeds 0 1 2 --output records.jsonl \
        --variant none model.user_tokens=none --variant prefix model.user_tokens=prefix
    python benchmarks/variants.py configs/musical_instruments.yaml --seeds 0 1 2 --output records.jsonl \
        --variant joint --variant ratings 'model.tasks=[rating]'
    python benchmarks/variants.py --report records.jsonl        # the table alone

A variant is a name and overrides of keys of the configuration. What is held out for the tasks of any variant is held
out for all of them, so a model of one task learns from the same rows as one of five. A seed changes the split's random
rows, the tokens, the weights and the order; variants of a seed share the first, and the tokens where no key of `tokens`
tells them apart. Every run keeps its best epoch and is one line of the output, written when it is done. The table has
mean and standard deviation (n - 1) over the seeds.

What the tokens are worth, one part taken away at a time (vectors that are never trained are random ones;
N: as many as there are users or items):

    python benchmarks/variants.py CONFIG --part test --variant all \
        --variant "no walks" tokens.learning_rate=1e-9 tokens.min_learning_rate=0 \
        --variant "no shared tokens" 'tokens.levels=[N]' \
        --variant "no projection" model.alpha=0 --variant "users apart" tokens.kinds=apart \
        --variant "no leaf vectors" model.leaf=false model.history=written
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import metatoken as mt
from metatoken.data import Split, hold_out
from metatoken.evaluate.runner import Runner
from metatoken.predict.fusion import choose_fusion
from metatoken.predict.rater import choose_shares
from metatoken.run import RunFolder, read_log
from metatoken.run.best import BestEpoch
from metatoken.run.config import Config, load_config
from metatoken.run.train import build
from metatoken.run.trainer import fit, make_trainer
from metatoken.run.validation import watched
from metatoken.tokens.files import attribute_links

LABELS = ("task", "template", "model")
SHOWN = ("hr@10", "ndcg@10", "rmse", "mae", "bleu4", "rouge1", "rouge2", "rougeL", "distinct2")


def run_one(config: Config, split: Split, vocabulary: mt.Vocabulary, part: Any) -> dict[str, Any]:
    """Trains and scores one variant."""
    began = time.perf_counter()
    config = config.resolved(split.train.sequences().n_targets).reading(vocabulary.item_tokens)
    module, data = build(config, split, vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        place = RunFolder(folder)
        monitor, also, measures = watched(config.model.tasks, split)
        best = BestEpoch(monitor, place.best, also=also, patience=config.trainer.patience)
        trainer = make_trainer(config.trainer, place, lambda _: None, [*measures, best])
        fit(trainer, module, data, None)
    trained = time.perf_counter() - began
    module.to("cpu").eval()
    search = {"batch_size": config.evaluate.batch_size, "seed": config.seed}
    fusion = choose_fusion(module, split, limit=config.evaluate.fusion_users, **search)
    choose_shares(module, split)
    runner = Runner(module, split, part, config.evaluate, seed=config.seed)
    rows = runner.run(fusion, unseen=False).rows
    kept = best.record(trainer).kept_epoch
    return {"kept_epoch": kept, "train_seconds": trained, "seconds": time.perf_counter() - began, "rows": rows}


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All seeds and variants, seed by seed."""
    records = []
    for seed in args.seeds:
        common = [f"seed={seed}", f"threads={args.threads}", *args.set]
        configs = {name: load_config(args.config, common + overrides) for name, *overrides in args.variant}
        log = read_log(next(iter(configs.values())))
        needs = {name: columns for config in configs.values() for name, columns in config.needs.items()}
        split = hold_out(log, needs, seed)
        tokens: dict[str, mt.Vocabulary] = {}
        for name, config in configs.items():
            if args.only and name not in args.only:
                continue
            torch.set_num_threads(args.threads)
            key = repr(config.tokens)
            if key not in tokens:
                links = attribute_links(config.tokens, log, config.data)
                tokens[key] = mt.Vocabulary.fit(
                    split.train, config.tokens, attributes=links, seed=seed, threads=args.threads
                )
            record = {"variant": name, "seed": seed, "part": args.part, "config": args.config.name}
            record |= run_one(config, split, tokens[key], args.part)
            records.append(record)
            print(f"{name}, seed {seed}: {record['seconds']:.0f} s", flush=True)
            if args.output:
                with args.output.open("a", encoding="utf-8") as file:
                    print(json.dumps(record), file=file)
    return records


def report(records: list[dict[str, Any]]) -> None:
    """A table with a line for each task, model and variant."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        for row in record["rows"]:
            found.setdefault((*(row[name] for name in LABELS), record["variant"]), []).append(row)
    shown = [name for name in SHOWN if any(name in row for rows in found.values() for row in rows)]
    print(f"\n| {' | '.join((*LABELS[::2], 'variant', 'seeds', *shown))} |")
    print("|---" * (4 + len(shown)) + "|")
    for (task, _, model, variant), rows in sorted(found.items(), key=lambda pair: (pair[0][0], pair[0][2])):
        cells = [_spread([row[name] for row in rows if name in row]) for name in shown]
        print(f"| {' | '.join((task, model, variant, str(len(rows)), *cells))} |")
    for variant in dict.fromkeys(record["variant"] for record in records):
        seconds = [record["train_seconds"] for record in records if record["variant"] == variant]
        print(f"{variant}: trained in {max(seconds):.0f} s at most")


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.mean(values):.4f} ({statistics.stdev(values) if len(values) > 1 else 0:.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path)
    parser.add_argument("--variant", nargs="+", action="append", default=[], metavar=("NAME", "KEY=VALUE"))
    parser.add_argument("--only", nargs="+", help="run these variants; the others still say what is held out")
    parser.add_argument("--set", action="append", default=[], help="key=value for all variants")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON lines to append to")
    parser.add_argument("--report", type=Path, help="print the table of these records and run nothing")
    args = parser.parse_args()
    if args.report:
        report([json.loads(line) for line in args.report.read_text(encoding="utf-8").splitlines()])
    elif args.config is None or not args.variant:
        parser.error("expected a configuration and at least one --variant")
    else:
        report(measure(args))


if __name__ == "__main__":
    main()
