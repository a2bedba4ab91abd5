"""Decoding against Hugging Face `generate` over the same model: `python benchmarks/decoding.py`.

A GPT-2 type preset with random weights (width 128, 3 layers), 32 users x 20 beams, histories of 20 items. The peer is
`GPT2LMHeadModel` with the same weights folded in (OOV rows in its table, cosine head as plain rows) under
`prefix_allowed_tokens_fn` over a trie of nested dicts, as people write it. Both decode shared tokens (`leaf` off) with
scores renormalised over the allowed tokens; their lists are compared item by item. Each figure is the median of
`--repeat` runs and stands twice: seconds by the clock, and seconds of processor time, which other programs on the
machine disturb less (take `--threads 1` there, since waiting threads spend processor time, too).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from decoding_world import WORDS, make_network, make_prompts, random_codes
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from metatoken.decode.beam import beam_search
from metatoken.decode.filters import ItemFilter
from metatoken.decode.search import Candidates, best_children, best_leaves, roots
from metatoken.model.network import Network
from metatoken.tasks.batch import Batch
from metatoken.tokens.trie import Trie

CASES = {
    ("100k", 2): (100_000, [512, 512]),
    ("100k", 3): (100_000, [64, 64, 64]),
    ("1M", 2): (1_000_000, [1024, 1024]),
    ("1M", 3): (1_000_000, [128, 128, 128]),
}
WIDTH = 20


def median(run: Callable[[], Any], repeat: int, warm: int = 1) -> tuple[float, float]:
    """Seconds of one call, by the clock and of processor time (all threads): medians, each by itself."""
    for _ in range(warm):
        run()
    wall, cpu = [], []
    for _ in range(repeat):
        begin, busy = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - busy)
    return statistics.median(wall), statistics.median(cpu)


@torch.no_grad()
def fold(network: Network) -> GPT2LMHeadModel:
    """A plain model whose softmax over OOV tokens equals the generation head's."""
    ours: Any = network.backbone.bare()
    table = network.table
    config = GPT2Config(
        **{**ours.config.to_dict(), "vocab_size": WORDS + len(table.weight), "tie_word_embeddings": False}
    )
    model = GPT2LMHeadModel(config).eval()
    weights = {k: v for k, v in ours.state_dict().items() if k not in ("transformer.wte.weight", "lm_head.weight")}
    weights["transformer.wte.weight"] = torch.cat([ours.transformer.wte.weight, table.inputs()])
    # The state before the final norm's gain has length sqrt(d); here gain is 1 and bias 0.
    rows = F.normalize(table(), dim=-1) / (network.generation.temperature * table.weight.shape[1] ** 0.5)
    weights["lm_head.weight"] = torch.cat([torch.zeros(WORDS, rows.shape[1]), rows])
    model.load_state_dict(weights)
    model.transformer.ln_f.eps = 1e-12  # ours normalises exactly
    return model


def dict_trie(tokens: np.ndarray) -> dict[int, Any]:
    root: dict[int, Any] = {}
    for row in tokens.tolist():
        node = root
        for token in row:
            node = node.setdefault(token, {})
    return root


def generate(model: GPT2LMHeadModel, trie: dict[int, Any], batch: Batch, levels: int) -> Any:
    start = batch.input_ids.shape[1]

    def allowed(_batch_id: int, ids: torch.Tensor) -> list[int]:
        node = trie
        for token in ids[start:].tolist():
            node = node[token]
        return list(node.keys())

    return model.generate(
        batch.input_ids, attention_mask=batch.attention_mask, num_beams=WIDTH, num_return_sequences=WIDTH,
        max_new_tokens=levels, do_sample=False, renormalize_logits=True, length_penalty=0.0, early_stopping=True,
        eos_token_id=None, pad_token_id=0, prefix_allowed_tokens_fn=allowed, output_scores=True,
        return_dict_in_generate=True,
    )  # fmt: skip


@torch.no_grad()
def steps(network: Network, batch: Batch, filters: ItemFilter, repeat: int) -> dict[str, tuple[float, float]]:
    """Seconds of the trie part of each step: from logits and beams to the next beams or items."""
    index, head, prefix = network.index, network.generation, network.start(batch)
    scaled, states = head.scaled(network.table()), prefix.last / network.item_head.temperature
    beams, found, spent = roots(prefix.last), torch.zeros(len(batch.input_ids), dtype=torch.int64), {}
    plain = ItemFilter(index, len(found))
    for level in range(index.depth):
        if level > 0:
            prefix = network.advance(prefix, beams.rows, beams.ids, level - 1)
        logits = head.level_logits(prefix.last, level, scaled)

        def step(which: ItemFilter, beams: Candidates = beams, logits: Any = logits) -> tuple[Candidates, Candidates]:
            return best_children(index, beams, logits, which, found, 10, WIDTH)

        name = f"level {level + 1}"
        spent[name] = median(lambda run=step: run(plain), repeat)
        spent[f"{name}, filters"] = median(lambda run=step: run(filters), repeat)
        last, beams = beams, step(plain)[0]
    vectors = network.leaf_vectors()
    spent["leaf vectors, filters"] = median(lambda: best_leaves(index, last, states, vectors, filters, 10), repeat)
    return spent


def compare(network: Network, batch: Batch, codes: np.ndarray, output: Any) -> dict[str, Any]:
    """Our lists against the peer's: equal places, equal sets, largest difference of scores."""
    ours = beam_search(network, batch, k=WIDTH, width=WIDTH, leaf=False)
    tokens = output.sequences[:, batch.input_ids.shape[1] :].numpy() - WORDS
    offsets = np.array(network.generation.level_offsets[:-1])
    trie = Trie.from_codes(codes)
    rows = np.array([trie.items(trie.find(row - offsets))[0] for row in tokens]).reshape(ours.items.shape)
    scores = output.sequences_scores.view(ours.scores.shape)
    mine = ours.items.numpy()
    return {
        "places_equal": float((mine == rows).mean()),
        "users_with_equal_sets": float(np.mean([set(a) == set(b) for a, b in zip(mine, rows, strict=True)])),
        "largest_score_difference": float((ours.scores - scores).abs().max()),
    }


def measure(name: str, levels: int, options: argparse.Namespace) -> dict[str, Any]:
    n, sizes = CASES[name, levels]
    codes = random_codes(n, sizes, options.seed)
    build = median(lambda: Trie.from_codes(codes, threads=options.threads), options.repeat, warm=0)
    nbytes = sum(array.nbytes for array in Trie.from_codes(codes).tensors().values())
    network = make_network(codes, sizes, seed=options.seed, leaf=False)
    batch, seen = make_prompts(network, options.users, 20, options.seed)
    mask = np.random.default_rng(options.seed).random(n) < 0.5
    filters = ItemFilter(network.index, options.users, blocked=seen, catalogue=mask)
    row: dict[str, Any] = {"items": n, "levels": sizes, "trie_seconds": build, "trie_megabytes": nbytes / 1e6}
    row["steps"] = steps(network, batch, filters, options.repeat * 5)
    row["ours"] = median(lambda: beam_search(network, batch, k=10, width=WIDTH), options.repeat)
    row["ours_filters"] = median(
        lambda: beam_search(network, batch, seen, catalogue=mask, k=10, width=WIDTH), options.repeat
    )
    network.leaf = True
    row["ours_leaf_filters"] = median(
        lambda: beam_search(network, batch, seen, catalogue=mask, k=10, width=WIDTH), options.repeat
    )
    network.leaf = False
    if not options.skip_peer:
        model, trie = fold(network), dict_trie(network.items.tokens.numpy() + WORDS)
        gc.freeze()  # millions of dicts would otherwise be visited by every collection, and the peer pay for it
        runs: list[Any] = []
        row["hf"] = median(lambda: runs.append(generate(model, trie, batch, levels)), options.peer_repeat, warm=0)
        for ours in ("ours", "ours_filters", "ours_leaf_filters"):
            row[f"ratio_{ours}"] = [peer / own for peer, own in zip(row["hf"], row[ours], strict=True)]
        row["agreement"] = compare(network, batch, codes, runs[-1])
        gc.unfreeze()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=["100k/2", "100k/3", "1M/2", "1M/3"])
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peer-repeat", type=int, default=3)
    parser.add_argument("--skip-peer", action="store_true", help="time ours alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="add the figures to this JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)  # read by the core at its first step
    machine = {
        "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": options.threads,
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "load": round(os.getloadavg()[0], 1), "users": options.users, "beams": WIDTH,
    }  # fmt: skip
    print(json.dumps(machine))
    report = json.loads(options.output.read_text()) if options.output and options.output.exists() else {"rows": {}}
    report["machine"] = machine
    for case in options.cases:
        name, levels = case.split("/")
        report["rows"][case] = measure(name, int(levels), options)
        print(case, json.dumps(report["rows"][case], indent=1))
        if options.output:
            options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
