"""Loop versions of metatoken.baselines: slow, obvious, float64, no shared code."""

from __future__ import annotations

import numpy as np


def who_met_what(sequences, n_items):
    matrix = np.zeros((len(sequences), n_items))
    for user, items in enumerate(sequences):
        for item in items:
            matrix[user, item] = 1.0
    return matrix


def _cut(weights, k):
    """The k largest entries of each row by size; among equals those of the lowest columns."""
    kept = np.zeros_like(weights)
    for i, row in enumerate(weights):
        for j in sorted(range(len(row)), key=lambda j: (-abs(row[j]), j))[:k]:
            kept[i, j] = row[j]
    return kept


def item_knn(matrix, shrinkage, k):
    n_items = matrix.shape[1]
    weights = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            both = (matrix[:, i] * matrix[:, j]).sum()
            if i != j and both:
                weights[i, j] = both / (np.sqrt(matrix[:, i].sum() * matrix[:, j].sum()) + shrinkage)
    return _cut(weights, k)


def ease(matrix, regularization, k):
    inverse = np.linalg.inv(matrix.T @ matrix + regularization * np.eye(matrix.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return _cut(weights, k)


def scores(history, weights, popularity, decay):
    found = np.zeros(len(weights))
    for age, item in enumerate(reversed(list(history))):
        found += decay**age * weights[item]
    found = np.maximum(found, 0)
    return 0.99 * found / found.sum() + 0.01 * popularity if found.sum() else popularity


def ndcg(scores, targets, histories):
    gain = 0.0
    for row, target, seen in zip(scores, targets, histories, strict=True):
        unseen = [item for item in range(len(row)) if item not in seen]
        best = sorted(unseen, key=lambda item: (-row[item], item))[:10]
        gain += 1 / np.log2(best.index(target) + 2) if target in best else 0.0
    return gain / len(targets)
