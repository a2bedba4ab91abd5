"""What each row of a table of metrics stands for, in one line, for whoever sees its name for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEANING = {
    "fused": "item_head and transition_graph multiplied, with weights chosen on validation; what recommend returns",
    "item_head": "the language model's state after the history, compared with the vector of every item",
    "generation": "the language model writes the tokens of items: beam search over the trie of existing items",
    "generation_leaf_off": "the same with the shared tokens alone, as published; for comparison",
    "popularity": "baseline: items by number of training interactions, the same list for everybody",
    "transition_graph": "baseline: counts which item follows which in training; no model is fitted",
    "graph_and_categories": "baseline: the same times likeness by categories",
    "sasrec": "baseline: a transformer over item ids, trained with the full cross-entropy",
    "item_knn": "baseline: items whose users overlap with those of the history",
    "ease": "baseline: a linear autoencoder in closed form",
    "rating_head": "rating_base (in older runs biases) plus a correction that the model reads from its state",
    "written": "text that the model writes",
    "global_mean": "baseline: the mean rating",
    "biases": "baseline: mean rating plus a bias of the user and one of the item",
    "item_neighbors": "baseline: the user's ratings of similar items",
    "rating_base": "baseline: what rating_head corrects, on its own",
    "matrix_factorization": "baseline: biases plus factors of users and items",
    "nearest_pair": "baseline: the text of the nearest training pair of user and item",
    "nearest_text": "baseline: the text beside the most similar training text",
}


TASKS = {
    "sequential": "task: what comes after a history; `recommend` and `serve` answer it",
    "direct": "task: what suits a user of whom the model sees no history",
}
UNSEEN = ("...-unseen", "template: the question in words that no training row had; the served list has those of -1")


def legend(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name and meaning of each model that has a row, in the order of `MEANING`, then of tasks and templates.

    Args:
        rows: With a key `model`, perhaps `task` and `template`; names without a meaning are left out. Tasks are named
            where there are several, and templates where one is unseen.
    """
    rows = [*rows]
    models, tasks = {row["model"] for row in rows}, {row.get("task") for row in rows}
    found = [(name, meaning) for name, meaning in MEANING.items() if name in models]
    if len(tasks) > 1:
        found += [(name, meaning) for name, meaning in TASKS.items() if name in tasks]
    unseen = any(str(row.get("template")).endswith("-unseen") for row in rows)
    return [*found, UNSEEN] if unseen else found
