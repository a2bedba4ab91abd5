"""`metatoken inspect`: how good a vocabulary is, and which ids are near each other in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from metatoken.cli import options
from metatoken.cli.output import print_facts, warn
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from metatoken.data import Interactions
    from metatoken.tokens.vocabulary import Vocabulary

KINDS = ("item", "user")
NEAR = "Neighbours of one id"


@dataclass(frozen=True)
class Neighbour:
    """An id, its tokens, its title if there is one, and the cosine of its vector with that of the id asked for."""

    id: str
    tokens: str
    cosine: float
    title: str | None


def inspect(
    *,
    vocabulary: Annotated[Path, typer.Argument(help="Folder that `metatoken tokenize` wrote.")],
    near: Annotated[
        str | None, typer.Option("--id", help="Raw id whose neighbours to list.", rich_help_panel=NEAR)
    ] = None,
    kind: Annotated[str, typer.Option(help="item or user.", rich_help_panel=NEAR)] = "item",
    k: Annotated[int, typer.Option("-k", help="How many neighbours.", rich_help_panel=NEAR)] = 10,
    representation: Annotated[
        str, typer.Option(help="Score the sum of token centroids (tokens) or the skip-gram vectors (vectors).")
    ] = "tokens",
    log: Annotated[Path | None, typer.Option(help="Score against this log.", rich_help_panel=options.PANEL)] = None,
    form: options.Form = "table",
    user: options.User = "user",
    item: options.Item = "item",
    time: options.Time = None,
    rating: options.Rating = None,
    split: options.SplitName = "leave-last-out",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Score a vocabulary (memorization, diversity, balance, collisions), or list the neighbours of an id.

    Without --log, memorization is the one that `tokenize` computed on its training part.
    """
    from metatoken.tokens.vocabulary import Vocabulary

    loaded = Vocabulary.load(vocabulary)
    if near is not None:
        print_neighbours(loaded, near, kind, neighbours(loaded, near, kind, k), as_json)
        return
    if log is not None:
        train = options.read_split(log, options.LogOptions(form, user, item, time, rating, split)).train
        scores = compute_scores(loaded, train, representation)
    else:
        scores = saved_scores(vocabulary, representation) or compute_scores(loaded, None, representation)
    facts = size(loaded)
    if as_json:
        print(json.dumps(facts | scores, indent=2))
    else:
        print_scores(facts, scores)


def compute_scores(
    vocabulary: Vocabulary, train: Interactions | None, representation: str = "tokens"
) -> dict[str, Any]:
    """Scores as JSON values, rounded to what another processor would get too."""
    from metatoken.tokens.scores import score

    known = cast("Literal['tokens', 'vectors']", representation)
    return cast("dict[str, Any]", rounded(score(vocabulary, train, representation=known).to_dict()))


def saved_scores(folder: Path, representation: str) -> dict[str, Any] | None:
    """Scores that were saved with the vocabulary, `None` if there are none of this representation."""
    from metatoken.tokens.storage import read_scores

    scores = read_scores(folder)
    return scores if scores is not None and scores["representation"] == representation else None


def rounded(value: Any) -> Any:
    """The same nest of dictionaries and lists with six decimals."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def size(vocabulary: Vocabulary) -> dict[str, Any]:
    """How many of what a vocabulary holds."""
    return {
        "n_users": vocabulary.n_users,
        "n_items": vocabulary.n_items,
        "n_tokens": vocabulary.n_tokens,
        "level_sizes": list(vocabulary.levels),
    }


def neighbours(vocabulary: Vocabulary, raw: str, kind: str, k: int) -> list[Neighbour]:
    """The ids of the same kind whose vectors have the largest cosine with that of `raw`, nearest first.

    Ids that training never met all have the same vector, the mean; they are nobody's neighbours.

    Raises:
        ArgumentError: `kind` or `k` has no such value.
        UnknownIdError: The vocabulary has no such id.
    """
    import numpy as np

    if kind not in KINDS:
        raise ArgumentError("--kind", f"expected item or user, got {kind}")
    if k < 1:
        raise ArgumentError("-k", f"expected 1 or more, got {k}")
    ids = vocabulary.items if kind == "item" else vocabulary.users
    row = ids.row(raw)
    first = vocabulary.n_users if kind == "item" else 0
    x = vocabulary.vectors[first : first + len(ids)].astype(np.float64)
    trained = vocabulary.trained[first : first + len(ids)]
    if not trained[row]:
        warn(f"{kind} {raw} has no interaction in train; its vector is the mean of all")
    length = np.linalg.norm(x, axis=1)
    cosine = x @ x[row] / np.maximum(length * length[row], np.finfo(np.float64).tiny)
    # Equal cosines are listed by row, so that the list is always the same.
    order = [int(other) for other in np.argsort(-cosine, kind="stable") if other != row and trained[other]][:k]
    titles = vocabulary.titles if kind == "item" else None
    return [
        Neighbour(ids.raw[n], tokens_of(vocabulary, kind, ids.raw[n]), float(cosine[n]), titles[n] if titles else None)
        for n in order
    ]


def tokens_of(vocabulary: Vocabulary, kind: str, raw: str) -> str:
    """Token string of an id of either kind."""
    return vocabulary.tokens_of(item=raw) if kind == "item" else vocabulary.tokens_of(user=raw)


def print_neighbours(vocabulary: Vocabulary, raw: str, kind: str, found: list[Neighbour], as_json: bool) -> None:
    """Prints an id with its tokens, then one neighbour a line."""
    tokens = tokens_of(vocabulary, kind, raw)
    if as_json:
        report = {"id": raw, "kind": kind, "tokens": tokens, "neighbours": [asdict(n) for n in found]}
        print(json.dumps(report, indent=2))
        return
    print(f"{kind} {raw}  {tokens}")
    width = max((len(n.id) for n in found), default=0)
    for n in found:
        print(f"  {n.cosine:+.3f}  {n.id:<{width}}  {n.tokens}  {n.title or ''}".rstrip())


def print_scores(facts: dict[str, Any], scores: dict[str, Any]) -> None:
    """Prints sizes, the scores of users and items, then the balance of each level."""
    print_facts([(name.replace("_", " ").removeprefix("n "), value) for name, value in facts.items()])
    for kind in ("users", "items"):
        if scores[kind] is not None:
            print(f"\n{kind}, by their {scores['representation']}")
            print_facts(kind_facts(scores[kind]))
    print()
    for level in scores["levels"]:
        used = f"{level['used']:,} of {level['tokens']:,} tokens used"
        even = f"evenness {level['entropy']:.3f}, fullest {level['max_over_mean']:.1f} x mean"
        print(f"level {level['level']}: {used}, {even}")
    if scores["shared_tokens"] is not None:
        print(f"tokens used by both users and items: {scores['shared_tokens']:.1%}")


def kind_facts(part: dict[str, Any]) -> list[tuple[str, object]]:
    """The scores of one kind as lines; what could not be computed is left out."""
    memory, spread, published = part["memorization"] or {}, part["diversity"], part["published"]
    facts = [
        ("memorization, Spearman", memory.get("spearman")),
        ("memorization, AUC (.5: none)", memory.get("auc")),
        ("pairs compared", memory.get("pairs")),
        ("compared with", memory.get("reference")),
        ("diversity, effective rank", spread["effective_rank"]),
        ("diversity, mean cosine", spread["mean_cosine"]),
        ("ids whose tokens another id has too", part["id_collision_rate"]),
        ("memorization as published", published["memorization"]),
        ("diversity as published", published["diversity"]),
    ]
    return [(name, value) for name, value in facts if value is not None]
