"""Tokens for the items of a large log by metatoken, and by gensim and faiss: processor seconds, memory, quality.

    python benchmarks/scale_peers.py big/interactions --groups big/items --out FOLDER

Both read the same shards of Parquet and give every item a vector of 64 numbers and two codes of 512, with one thread,
each in a process of its own. metatoken walks `item>item` and `item-user-item`; gensim reads the histories themselves,
one pass, skip-gram with the same window and noise; faiss clusters its vectors and then what the first codes leave, on
256 rows for each token, as metatoken does. Quality: of each of 20,000 drawn items the share of its ten nearest items
(cosine) that are of its own group of the generated world, by chance one of the number of groups.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scale import measured, run

if TYPE_CHECKING:
    import polars as pl

DIM, WINDOW, NEGATIVES, TOKENS, SAMPLE = 64, 5, 5, 512, 256
COLUMNS = ("--user", "user_id", "--item", "item_id", "--time", "timestamp")
DRAWN, NEAREST = 20_000, 10


def by_peers(log: Path, out: Path) -> None:
    """Reads, trains, clusters and saves `peers.npz`: ids, vectors and codes."""
    import faiss
    import polars as pl
    from gensim.models import Word2Vec

    faiss.omp_set_num_threads(1)
    rows = pl.scan_parquet(log / "*.parquet").select("user_id", "item_id", "timestamp")
    histories = rows.sort("user_id", "timestamp").group_by("user_id", maintain_order=True).agg("item_id").collect()
    sentences = Histories(histories["item_id"])
    model = Word2Vec(
        sentences, vector_size=DIM, window=WINDOW, negative=NEGATIVES, sg=1, hs=0, min_count=1, sample=0, epochs=1,
        workers=1, seed=0,
    )  # fmt: skip
    vectors, left, codes = model.wv.vectors, model.wv.vectors.copy(), []
    faiss.normalize_L2(left)
    for _ in range(2):
        means = faiss.Kmeans(DIM, TOKENS, niter=25, seed=0, max_points_per_centroid=SAMPLE)
        means.train(left)
        nearest = means.index.search(left, 1)[1][:, 0]
        left -= means.centroids[nearest]
        codes.append(nearest)
    np.savez(out / "peers.npz", ids=np.array(model.wv.index_to_key), vectors=vectors, codes=np.stack(codes, axis=1))


class Histories:
    """Lists of item ids that can be read more than once."""

    def __init__(self, column: pl.Series) -> None:
        self.column = column

    def __iter__(self) -> Iterator[list[str]]:
        return (history.to_list() for history in self.column)


def purity(ids: list[str], vectors: np.ndarray, groups: Path) -> float:
    """Share of the nearest items that are of an item's own group."""
    import faiss
    import polars as pl

    table = pl.read_parquet(groups / "*.parquet")
    named = dict(zip(table["item_id"].to_list(), table["group"].to_list(), strict=True))
    group = np.unique([str(named[one]) for one in ids], return_inverse=True)[1]
    unit = np.ascontiguousarray(vectors, dtype=np.float32)
    faiss.normalize_L2(unit)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    drawn = np.random.default_rng(0).choice(len(unit), min(DRAWN, len(unit)), replace=False)
    near = index.search(unit[drawn], NEAREST + 1)[1]
    others = near != drawn[:, None]
    same = group[near] == group[drawn][:, None]
    return float((same & others).sum() / others.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--groups", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peers-only", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.peers_only:
        by_peers(given.log, given.out)
        return
    tokens = given.out / "tokens"
    paths = ("--meta-path", "item>item", "--meta-path", "item-user-item", "--kinds", "items")
    tokenize = ["tokenize", given.log, *COLUMNS, *paths, "--dim", DIM, "--threads", 1, "-o", tokens, "--overwrite"]
    alone = [sys.executable, __file__, str(given.log), "--groups", str(given.groups), "--out", str(given.out)]
    ours, theirs = measured(tokenize), run([*alone, "--peers-only"])
    import metatoken as mt

    vocabulary, peers = mt.Vocabulary.load(tokens), np.load(given.out / "peers.npz")
    ours["of_own_group"] = purity(list(vocabulary.items.raw), vocabulary.item_vectors, given.groups)
    theirs["of_own_group"] = purity(peers["ids"].tolist(), peers["vectors"], given.groups)
    ratio = theirs["seconds"] / ours["seconds"]
    print(json.dumps({"metatoken": ours, "gensim and faiss": theirs, "times as long": round(ratio, 2)}, indent=1))


if __name__ == "__main__":
    main()
