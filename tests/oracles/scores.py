"""Slow twins of the scores: loops over all pairs, straight from the definitions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations

import numpy as np

Ratings = dict[int, dict[int, float]]  # row -> column -> rating


def transposed(ratings: Ratings) -> Ratings:
    result: Ratings = {}
    for row, columns in ratings.items():
        for column, value in columns.items():
            result.setdefault(column, {})[row] = value
    return result


def adjusted_cosine(ratings: Ratings, i: int, j: int) -> float | None:
    """Of rows i and j over the columns they share, less the columns' means."""
    by_column = transposed(ratings)
    mean = {column: sum(values.values()) / len(values) for column, values in by_column.items()}
    shared = set(ratings.get(i, {})) & set(ratings.get(j, {}))
    a = [ratings[i][c] - mean[c] for c in sorted(shared)]
    b = [ratings[j][c] - mean[c] for c in sorted(shared)]
    scale = math.sqrt(sum(v * v for v in a) * sum(v * v for v in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / scale if scale > 1e-9 else None


def cooccurrence_cosine(ratings: Ratings, i: int, j: int) -> float:
    a, b = set(ratings.get(i, {})), set(ratings.get(j, {}))
    return len(a & b) / math.sqrt(len(a) * len(b))


def supported_pairs(ratings: Ratings, min_support: int) -> dict[tuple[int, int], int]:
    support = {(i, j): len(set(ratings[i]) & set(ratings[j])) for i, j in combinations(sorted(ratings), 2)}
    return {pair: count for pair, count in support.items() if count >= min_support}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    scale = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0


def mean_ranks(values: list[float]) -> list[float]:
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def spearman(a: list[float], b: list[float]) -> float | None:
    ranks = [np.array(mean_ranks(list(v))) for v in (a, b)]
    if len(a) < 2 or any(r.std() == 0 for r in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def auc(positive: Iterable[float], negative: Iterable[float]) -> float | None:
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in list(negative)]
    return sum(wins) / len(wins) if wins else None


def mean_cosine(x: np.ndarray) -> float | None:
    pairs = [cosine(a.astype(float), b.astype(float)) for a, b in combinations(x, 2)]
    return sum(pairs) / len(pairs) if pairs else None


def effective_rank(x: np.ndarray) -> float:
    unit = np.array([row / np.linalg.norm(row) if np.any(row) else row for row in x.astype(float)])
    sigma = np.linalg.svd(unit, compute_uv=False)
    p = [s / sigma.sum() for s in sigma if sigma.sum() > 0 and s > sigma.max() * 1e-6]
    return math.exp(-sum(v * math.log(v) for v in p))


def collision_rate(rows: np.ndarray) -> float:
    texts = [tuple(row.tolist()) for row in rows]
    return sum(texts.count(text) > 1 for text in texts) / len(texts)


def published_similarity(ratings: Ratings) -> dict[tuple[int, int], float]:
    """Product of sums over product of norms, for every pair of rows (the released code's formula)."""
    by_column = transposed(ratings)
    mean = {column: sum(values.values()) / len(values) for column, values in by_column.items()}
    deviations = {row: [value - mean[c] for c, value in columns.items()] for row, columns in ratings.items()}
    result = {}
    for i, j in combinations(sorted(ratings), 2):
        scale = math.sqrt(sum(v * v for v in deviations[i])) * math.sqrt(sum(v * v for v in deviations[j]))
        result[i, j] = sum(deviations[i]) * sum(deviations[j]) / scale if scale > 1e-9 else 0.0
    return result
