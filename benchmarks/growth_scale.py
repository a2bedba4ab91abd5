"""A run of many items is extended: seconds, and memory beside that of loading it.

    python benchmarks/growth_scale.py OUT [--items 100000] [--new-items 10000] [--new-rows 100000]

The log is drawn: users take items of Zipf popularity near their own taste. Vectors are random and the model is not
trained, since neither changes what an extension has to do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import yaml

LOAD = "import sys; from metatoken.run import load_run; load_run(sys.argv[1])"
EXTEND = "from metatoken.cli.app import main; main()"


def draw(n_users: int, n_items: int, rows: int, begin: float, rng: np.random.Generator) -> pl.DataFrame:
    """Interactions as raw ids with times from `begin` on."""
    item = np.minimum((n_items * rng.random(rows) ** 2).astype(np.int64), n_items - 1)
    user = rng.integers(0, n_users, rows)
    times = np.sort(begin + 1e6 * rng.random(rows)).astype(np.int64)
    return pl.DataFrame({"user": [f"u{row}" for row in user], "item": [f"i{row}" for row in item], "time": times})


def make_run(log: Path, folder: Path) -> None:
    """A run over a log whose vectors are random and whose model is not trained."""
    from metatoken import Vocabulary
    from metatoken.data import hold_out
    from metatoken.model.store.saving import save_model
    from metatoken.predict.fusion import Fusion
    from metatoken.run import RunFolder, load_config, read_log
    from metatoken.run.manifest import seal
    from metatoken.run.train import build
    from metatoken.tokens.vectors.skipgram import Embeddings

    about = {"path": str(log), "user": "user", "item": "item", "time": "time", "split": "none"}
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({"data": about, "trainer": {"accelerator": "cpu"}}))
    config = load_config(path)
    split = hold_out(read_log(config), {}, 0, "none")
    train = split.train
    n = train.n_users + train.n_items
    vectors = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float32)
    given = Embeddings(vectors, train.n_users, train.n_items, np.ones(n, np.bool_))
    vocabulary = Vocabulary.fit(train, embeddings=given, max_iterations=2, sample=20_000)
    config = config.resolved(train.sequences().n_targets).reading(vocabulary.item_tokens)
    module, _ = build(config, split, vocabulary)
    at = RunFolder(folder)
    folder.mkdir()
    at.begin(config, vocabulary, split.log, None)
    Fusion().save(at.fusion)
    save_model(module, at.model)
    seal(at, "finished", None)


def measured(code: str, *argv: object) -> dict[str, float]:
    """Runs Python in a process of its own; seconds of processor time, and the most memory in MB."""
    said = (
        "import resource, json, atexit, time; began = time.perf_counter();"
        "atexit.register(lambda: (lambda r: print(json.dumps({'processor': round(r.ru_utime + r.ru_stime, 1), "
        "'clock': round(time.perf_counter() - began, 1), 'memory': r.ru_maxrss // 1024}), flush=True))"
        "(resource.getrusage(resource.RUSAGE_SELF)));"
    )
    done = subprocess.run(
        [sys.executable, "-c", said + code, *map(str, argv)], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Makes what is missing, then measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--new-items", type=int, default=10_000)
    parser.add_argument("--new-rows", type=int, default=100_000)
    asked = parser.parse_args()
    out, rng = asked.out, np.random.default_rng(0)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "run").exists():
        every = pl.DataFrame({"user": "u0", "item": [f"i{row}" for row in range(asked.items)], "time": 0})
        old = draw(asked.users, asked.items, asked.rows - asked.items, 1.0, rng)
        pl.concat([every.with_columns(pl.col("time").cast(pl.Int64)), old]).write_csv(out / "old.csv")
        new = draw(asked.users + asked.users // 20, asked.items + asked.new_items, asked.new_rows, 2e6, rng)
        # Every new item comes, and as often as an item of the middle.
        late = [f"i{asked.items + row % asked.new_items}" for row in range(asked.new_rows // 2)]
        new = new.with_columns(item=pl.Series([*late, *new["item"][len(late) :]]))
        new.sample(fraction=1.0, shuffle=True, seed=0).sort("time").write_csv(out / "new.csv")
        make_run(out / "old.csv", out / "run")
    loaded = measured(LOAD, out / "run")
    extended = measured(EXTEND, "extend", out / "run", out / "new.csv", "-o", out / "grown", "--overwrite")
    print(json.dumps({"load": loaded, "extend": extended, "memory": round(extended["memory"] / loaded["memory"], 2)}))


if __name__ == "__main__":
    main()
