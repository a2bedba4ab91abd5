"""The public functions and classes, each with arguments that work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Door = tuple[Callable[..., object], dict[str, Any], tuple[Any, ...]]
ARRAYS = (
    np.zeros(0), np.zeros((0, 8)), np.zeros((3, 0)), np.full((60, 8), np.nan, np.float32), np.full((60, 8), np.inf),
    np.full((60, 8), 1e30), np.zeros((60, 8), np.float32), np.ones((2, 2, 2)), np.array(5), np.array(["a", "b"]),
    np.array([None, {}], dtype=object), np.arange(480, dtype=">f4").reshape(60, 8), np.ones((120, 8))[::2],
    np.full((40, 2), -5), np.full((40, 2), 2**40), np.array([-1, 5, 10**9]), np.ones((60, 8), dtype=complex),
    np.array([True, False]), np.ma.masked_array(np.ones((60, 8)), mask=True), np.zeros(2, "datetime64[s]"),
)  # fmt: skip


def doors(base: Path) -> dict[str, Door]:
    """Name, callable, arguments, and further hostile values."""
    import metatoken as mt

    world = mt.generate_world(n_users=50, n_items=36, n_groups=3)
    split = mt.leave_last_out(world.interactions())
    parts = (data_doors, token_doors, model_doors, run_doors, shard_doors)
    return {name: door for part in parts for name, door in part(base, split).items()}


def data_doors(base: Path, split: Any) -> dict[str, Door]:
    """Logs and splits."""
    import polars as pl

    import metatoken as mt
    from metatoken.data.conditions import parse_condition

    log, read = split.log, {"user": "user_id", "item": "item_id", "time": "timestamp"}
    world = {"n_users": 50, "n_items": 36, "n_groups": 3, "min_length": 8, "max_length": 12, "seed": 0}
    frame = pl.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"], "time": [1, 2, 3]})
    frames = (frame, frame[:0], frame.select("user"), frame.with_columns(user=None), pl.DataFrame())
    columns = {"users": np.array([0, 0, 1]), "items": np.array([0, 1, 0]), "times": None, "ratings": None}
    named = {"user": "user", "item": "item", "time": "time"}
    return {
        "generate_world": (mt.generate_world, world, ()),
        "Interactions.read": (mt.Interactions.read, {"path": base / "world" / "interactions.csv", **read}, ()),
        "Interactions.from_frame": (mt.Interactions.from_frame, {"frame": frame, **named}, frames),
        "Interactions.from_arrays": (mt.Interactions.from_arrays, columns, ARRAYS),
        "leave_last_out": (mt.leave_last_out, {"log": log}, ()),
        "no_split": (mt.no_split, {"log": log}, ()),
        "random_split": (mt.random_split, {"log": log, "validation": 0.1, "test": 0.1, "seed": 0}, ()),
        "audit": (mt.audit, {"log": log}, ()),
        "parse_condition": (parse_condition, {"text": "price < 3"}, ()),
    }


def token_doors(base: Path, split: Any) -> dict[str, Door]:
    """Vocabularies, codes, tries, walks, vectors."""
    import metatoken as mt
    from metatoken.tokens.codes.clustering import fit as fit_codes
    from metatoken.tokens.graph.walks import Graph, walks
    from metatoken.tokens.trie import Trie
    from metatoken.tokens.vectors.skipgram import fit as fit_vectors

    small: dict[str, Any] = {"dim": 8, "walks_per_node": 2, "walk_length": 8, "seed": 0, "threads": 1}
    vocabulary = mt.Vocabulary.fit(split.train, levels=[8, 16], **small)
    rows = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    codebook, trie = fit_codes(rows, [4, 4]), Trie.from_codes(vocabulary.item_codes)
    item, ids = vocabulary.items.raw[0], [f"i{n}" for n in range(60)]
    given = {"features": None, "initial": None, "attributes": None}
    fitted = {"x": rows, "levels": [4, 4], "seed": 0, "threads": 1, "method": "residual", "metric": "euclidean"}
    graph = {"graph": Graph.from_interactions(split.train), "walks_per_node": 1, "walk_length": 4, "seed": 0}
    return {
        "Vocabulary.fit": (mt.Vocabulary.fit, {"train": split.train, "levels": [8, 16], **small, **given}, ARRAYS),
        "Vocabulary.from_embeddings": (
            mt.Vocabulary.from_embeddings, {"ids": ids, "x": rows, "levels": [8, 16], "titles": None}, ARRAYS,
        ),
        "Vocabulary.load": (mt.Vocabulary.load, {"path": base / "vocabulary"}, ()),
        "Vocabulary.save": (vocabulary.save, {"path": base.parent / "c-saved"}, ()),
        "tokens_of": (vocabulary.tokens_of, {"item": item}, ()),
        "lookup": (vocabulary.lookup, {"tokens": vocabulary.tokens_of(item=item), "kind": "item"}, ()),
        "codes.fit": (fit_codes, {**fitted, "max_cluster_size": None}, ARRAYS),
        "Codebook.assign": (codebook.assign, {"x": rows, "threads": 1}, ARRAYS),
        "Codebook.decode": (codebook.decode, {"codes": codebook.assign(rows)}, ARRAYS),
        "Trie.from_codes": (Trie.from_codes, {"codes": vocabulary.item_codes}, ARRAYS),
        "Trie.find": (trie.find, {"codes": vocabulary.item_codes[0]}, ARRAYS),
        "Trie.subset": (trie.subset, {"rows": [0, 1]}, ARRAYS),
        "Trie.leaf_of": (trie.leaf_of, {"rows": [0, 1]}, ARRAYS),
        "Trie.item_of": (trie.item_of, {"leaves": [0, 1]}, ARRAYS),
        "Trie.items": (trie.items, {"node": 0}, ()),
        "Trie.children": (trie.children, {"node": 0}, ()),
        "walks": (walks, {**graph, "meta_path": "user-item-user", "threads": 1}, ()),
        "skipgram.fit": (fit_vectors, {**graph, "dim": 8, "epochs": 1, "initial": None}, ARRAYS),
    }  # fmt: skip


def model_doors(base: Path, split: Any) -> dict[str, Door]:
    """Models, runs, recommendations."""
    import metatoken as mt
    from metatoken.decode.settings import TextOptions
    from metatoken.run import evaluate_run, fit_baselines, load_run

    vocabulary = mt.Vocabulary.fit(split.train, levels=[8, 16], dim=8, walks_per_node=2, walk_length=8)
    preset = {"dim": 8, "layers": 1, "heads": 1, "dropout": 0.0, "positions": 80}
    module = {"vocabulary": vocabulary, "preset": preset, "max_history": 6, "learning_rate": 1e-3}
    data = {"split": split, "vocabulary": vocabulary, "tasks": ["sequential"], "batch_size": 32, "seed": 0}
    data |= {"direct_share": 0.1, "validation_users": 10, "shares": None, "mixing_temperature": 1.0}
    run, recommender = load_run(base / "run"), mt.Recommender.load(base / "run")
    user, item = recommender.history.users.raw[0], recommender.catalogue.items.raw[0]
    asked = {"user": user, "history": [item], "k": 3, "where": None, "allow": None, "deny": (), "model": "fused"}
    return {
        "MetaTokenModule": (
            mt.MetaTokenModule, {**module, "tasks": ["sequential"], "history": "compact", "features": None}, ARRAYS,
        ),
        "TaskDataModule": (mt.TaskDataModule, data, ()),
        "Recommender.load": (mt.Recommender.load, {"run": base / "run"}, ()),
        "recommend": (recommender.recommend, asked, ()),
        "recommend_many": (recommender.recommend_many, {"users": [user], "k": 3, "batch_size": 2}, ()),
        "TextOptions": (TextOptions, {"max_new_tokens": 3, "num_beams": 1}, ()),
        "load_run": (load_run, {"folder": base / "run"}, ()),
        "fit_baselines": (fit_baselines, {"run": run, "names": ["item_knn"]}, ()),
        "evaluate_run": (evaluate_run, {"run": run, "part": "test"}, ()),
    }  # fmt: skip


def run_doors(base: Path, split: Any) -> dict[str, Door]:
    """What makes runs of runs, what is added to a log, and what a log will cost."""
    import metatoken as mt
    from metatoken.data.growth import append
    from metatoken.run import ensemble_run, extend_run
    from metatoken.run.plan import plan
    from metatoken.run.rebuild import rebuild_run

    log, here = split.log, base.parent
    later = mt.Interactions.read(base / "later.csv", user="user_id", item="item_id", time="timestamp")
    sizes = {"users": 20, "items": 40, "interactions": 100, "scored": 10, "asked": 5, "cores": 2, "bytes_": 1 << 33}
    new: dict[str, Any] = {"out": here / "c-made", "overwrite": True, "say": lambda _: None}
    grown = {"parent": base / "run", "new": later, "epochs": 0, "hold_out": True, "item_features": None, **new}
    joined = {"runs": [base / "run", base / "other"], "like": None, **new}
    runs = ([base / "run", base / "run"], [base / "none", base / "run"], [base / "vocabulary", base / "run"])
    return {
        "plan": (plan, sizes, ()),
        "append": (append, {"log": log, "new": later}, ()),
        "extend_run": (extend_run, grown, (log, base / "later.csv")),
        "rebuild_run": (rebuild_run, {"parent": base / "run", "epochs": 1, "item_features": None, **new}, ()),
        "ensemble_run": (ensemble_run, joined, runs),
    }


def shard_doors(base: Path, split: Any) -> dict[str, Door]:
    """What is made in shards."""
    import metatoken as mt
    from metatoken.data.history_shards import HistoryShards, write_histories
    from metatoken.data.world.shards import write_world
    from metatoken.recommend import Request
    from metatoken.recommend.sharded import recommend_files
    from metatoken.tasks.sharded_datamodule import ShardedDataModule
    from metatoken.tokens.codes.clustering import VectorSource, assign_files, encode, make_unique

    here, pattern = base.parent, Request(None, None, 3)
    rows = np.load(base / "vectors.npy")
    vocabulary = mt.Vocabulary.fit(split.train, levels=[8, 16], dim=rows.shape[1], walks_per_node=2, walk_length=8)
    book, histories = vocabulary.codebook, here / "c-histories"
    write_histories(split, histories, 3)
    world = {"users": 20, "items": 40, "interactions": 100, "groups": 2, "seed": 0}
    codes: dict[str, Any] = {"unique": "assignment", "max_cluster_size": None, "threads": 1}
    source = VectorSource(base / "vectors.npy")
    files = {"source": source, "codebook": book, "out": here / "c-assigned", "shard_rows": 20, **codes}
    unique = {"codebook": book, "codes": book.assign(rows), "x": rows, "kinds": None, "first": None, **codes}
    unique |= {"occupied": None, "occupied_kinds": None}
    asked: dict[str, Any] = {"run": base / "run", "pattern": pattern, "out": here / "c-lists", "ids": ["u0001"]}
    asked |= {"users": None, "all_users": False, "columns": (), "batch_size": 2, "shard_users": 2, "threads": 1}
    patterns = (Request(None, ["x"]), Request("u0001", None), Request(None, None, k=0))
    return {
        "write_world in shards": (write_world, {"folder": here / "c-world", **world}, ()),
        "assign_files": (assign_files, files, (VectorSource(base / "none"), VectorSource(base / "users.txt"))),
        "VectorSource": (
            lambda **given: VectorSource(**given).shards(7),
            {"path": base / "vectors.npy", "vectors": None, "ids": None}, (),
        ),
        "encode": (encode, {"codebook": book, "x": rows, "kinds": None, **codes}, ARRAYS),
        "make_unique": (make_unique, unique, ARRAYS),
        "recommend_files": (recommend_files, asked, patterns),
        "write_histories": (write_histories, {"split": split, "folder": here / "c-cut", "shards": 2, "seed": 0}, ()),
        "HistoryShards.load": (HistoryShards.load, {"folder": histories}, ()),
        "HistoryShards.read": (HistoryShards.load(histories).read, {"shard": 0}, ()),
        "ShardedDataModule": (
            ShardedDataModule, {"folder": histories, "vocabulary": vocabulary, "batch_size": 8, "seed": 0}, (),
        ),
    }  # fmt: skip
