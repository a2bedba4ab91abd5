"""Loop versions of metatoken.evaluate: slow, obvious, no shared code."""

from __future__ import annotations

import math

import numpy as np


def rank(recommended, target):
    for place, item in enumerate(recommended, start=1):
        if item == target:
            return place
    return 0


def ranking_metrics(recommendations, targets, n_items, ks):
    metrics = {}
    users = len(targets)
    for k in ks:
        hit = gain = reciprocal = 0.0
        for recommended, target in zip(recommendations, targets, strict=True):
            place = rank(recommended[:k], target)
            if place:
                hit += 1
                gain += 1 / math.log2(place + 1)
                reciprocal += 1 / place
        metrics |= {f"hr@{k}": hit / users, f"ndcg@{k}": gain / users, f"mrr@{k}": reciprocal / users}
    top = max(ks)
    shown, listed, invalid = set(), 0, 0
    for recommended in recommendations:
        before = set()
        for item in recommended[:top]:
            if item == -1:
                continue
            listed += 1
            invalid += not 0 <= item < n_items or item in before
            before.add(item)
            if 0 <= item < n_items:
                shown.add(int(item))
    metrics[f"coverage@{top}"] = len(shown) / n_items
    metrics[f"invalid@{top}"] = invalid / listed if listed else 0.0
    return metrics


def top_k(scores, seen, k):
    items = np.full((len(scores), k), -1)
    values = np.full((len(scores), k), -np.inf)
    for user, row in enumerate(scores):
        allowed = [i for i, s in enumerate(row) if i not in seen[user] and s != -np.inf]
        for place, item in enumerate(sorted(allowed, key=lambda i: (-row[i], i))[:k]):
            items[user, place], values[user, place] = item, row[item]
    return items, values


def popularity(sequences, n_items):
    counts = np.zeros(n_items)
    for sequence in sequences:
        for item in sequence:
            counts[item] += 1
    return counts / counts.sum() if counts.sum() else np.full(n_items, 1 / n_items)


def transition_graph(sequences, n_items, history, *, gaps, backward, damping, recency, second_hop, smoothing):
    """Dense twin of TransitionGraph.fit and scores: float64 [len(history), n_items]."""
    C = np.zeros((n_items, n_items))
    for sequence in sequences:
        for place, item in enumerate(sequence):
            for gap, weight in enumerate(gaps, start=1):
                if place + gap < len(sequence):
                    C[item, sequence[place + gap]] += weight
                    C[sequence[place + gap], item] += weight * backward
    T = np.zeros_like(C)
    for item in range(n_items):
        if C[item].sum() > 0:
            T[item] = C[item] / C[item].sum() ** damping
    G = T + second_hop * T @ T
    out = np.zeros((len(history), n_items))
    share = popularity(sequences, n_items)
    for user, seen in enumerate(history):
        graph = np.zeros(n_items)
        for weight, item in zip(recency, reversed(seen), strict=False):
            graph += weight * G[item]
        out[user] = (1 - smoothing) * graph / graph.sum() + smoothing * share if graph.sum() > 0 else share
    return out


def bootstrap(ours, theirs, resamples, draw):
    """Resampled differences of two means, one user after the other; `draw(n)` gives a row from 0 to n - 1."""
    differences = []
    for _ in range(resamples):
        total = 0.0
        for _ in range(len(ours)):
            user = draw(len(ours))
            total += ours[user] - theirs[user]
        differences.append(total / len(ours))
    return sorted(differences)


def two_sided(differences):
    """p of sorted resampled differences."""
    below = sum(d <= 1e-12 for d in differences)
    above = sum(d >= -1e-12 for d in differences)
    return min(1.0, 2 * (1 + min(below, above)) / (len(differences) + 1))
