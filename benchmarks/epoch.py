"""How long an epoch of a configuration takes, with the code of this checkout and of others.

    python benchmarks/epoch.py configs/beauty.yaml --against ../older-checkout

Each checkout, built, trains on the same log with the same tokens for some steps of its first epoch, in a process of its
own and in turns; the median of the rounds is scaled to a whole epoch. Data, forward and backward pass, clipping and the
optimiser count; validation does not. With `--beside N` this checkout also trains N times at once, as often as alone:
how much such trainings slow each other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = """
import inspect, json, sys, time, torch
import metatoken as mt
from metatoken.data import hold_out
from metatoken.model.objective import loss_parts
from metatoken.run.config import load_config
from metatoken.run.train import build, read_log
path, vocabulary, threads, count = sys.argv[1:]
config = load_config(path, [f"threads={threads}"])
split = hold_out(read_log(config), config.needs, config.seed)
module, data = build(config, split, mt.Vocabulary.load(vocabulary))
torch.set_num_threads(int(threads))
data.connect(module.train().reader)
batches, weights = data.training_batches(), module.settings.weights
optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], fused=True)
chosen = [i * len(batches) // int(count) for i in range(int(count))]
# As a training step calls it; older checkouts had nothing to say here.
how = {"follow": True} if "follow" in inspect.signature(module.network.forward).parameters else {}
targets = 0
for place, number in enumerate([*chosen[:3], *chosen]):
    if place == 3:
        began = time.perf_counter()
    batch = batches[0, number]
    targets += len(batch.targets) if place > 2 else 0
    loss_parts(module.network(batch, **how), weights, batch.normaliser)["loss"].backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
    optimizer.step()
    optimizer.zero_grad()
seconds = time.perf_counter() - began
print(json.dumps({"epoch": seconds / len(chosen) * len(batches), "targets_per_second": targets / seconds}))
"""


def measure(checkout: Path, options: argparse.Namespace, vocabulary: Path, copies: int = 1) -> list[dict[str, float]]:
    """One round of one checkout, by so many processes at once."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "python"), "OMP_WAIT_POLICY": "PASSIVE"}
    arguments = [str(options.config), str(vocabulary), str(options.threads), str(options.steps)]
    command = [sys.executable, "-c", STEPS, *arguments]
    begun = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(copies)
    ]
    told = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        raise SystemExit(f"{checkout}: a training failed; is its core built?")
    return [dict(json.loads(lines.splitlines()[-1])) for lines in told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="other checkouts, with the core built")
    parser.add_argument("--vocabulary", type=Path, help="tokens to use; else they are learned first")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beside", type=int, default=1, help="trainings of this checkout at once")
    options = parser.parse_args()
    checkouts = {"this": Path(__file__).resolve().parents[1]} | {str(path): path for path in options.against}
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = options.vocabulary or learn(options, Path(folder) / "vocabulary")
        found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
        for _ in range(options.rounds):
            for name, path in checkouts.items():
                found[name] += measure(path, options, vocabulary)
            if options.beside > 1:
                alike = measure(checkouts["this"], options, vocabulary, options.beside)
                found.setdefault(f"{options.beside} at once", []).extend(alike)
    report = {
        name: {key: round(statistics.median(one[key] for one in rounds), 2) for key in rounds[0]}
        for name, rounds in found.items()
    }
    ratios = {name: round(one["epoch"] / report["this"]["epoch"], 2) for name, one in report.items() if name != "this"}
    print(json.dumps({"threads": options.threads, "seconds": report, "times this": ratios}, indent=2))


def learn(options: argparse.Namespace, folder: Path) -> Path:
    """Tokens of the configuration's log."""
    import metatoken as mt
    from metatoken.data import hold_out
    from metatoken.run.config import load_config
    from metatoken.run.train import read_log

    config = load_config(options.config)
    split = hold_out(read_log(config), config.needs, config.seed)
    mt.Vocabulary.fit(split.train, config.tokens, seed=config.seed).save(folder)
    return folder


if __name__ == "__main__":
    main()
