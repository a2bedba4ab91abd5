"""`metatoken inspect`: how good a vocabulary is, and which ids are near each other in it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from metatoken.cli import options
from metatoken.cli.output import print_facts, warn
from metatoken.cli.quality import QualityOptions, vector_quality

if TYPE_CHECKING:
    from metatoken.data import Interactions
    from metatoken.tokens.vocabulary import Vocabulary

NEAR = "Neighbours of one id"
QUALITY = "Quality of the vectors"


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
    heldout: Annotated[
        str | None,
        typer.Option(
            help="Link AUC on held-out pairs: validation or test of --log, or a file of its format.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(help="Non-edges drawn for each pair; by default all.", rich_help_panel=QUALITY),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="FILE[:IDCOLUMN:COLUMN] of groups of items: how many of the k nearest share one.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    seed: options.Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Score a vocabulary (memorization, diversity, balance, collisions), or list the neighbours of an id.

    Without --log, memorization is the one that `tokenize` computed on its training part.
    """
    from metatoken.tokens.vocabulary import Vocabulary

    loaded = Vocabulary.load(vocabulary)
    if near is not None:
        print_neighbours(loaded, kind, near, k, as_json)
        return
    columns = options.LogOptions(form, user, item, time, rating, split)
    part = options.read_split(log, columns) if log is not None else None
    facts = size(loaded)
    facts |= vector_quality(loaded, QualityOptions(heldout, negatives, groups, k, seed), part, columns)
    if part is not None:
        scores = compute_scores(loaded, part.train, representation)
    else:
        scores = saved_scores(vocabulary, representation) or compute_scores(loaded, None, representation)
    if as_json:
        print(json.dumps(facts | scores, indent=2))
    else:
        print_scores(facts, scores)


def compute_scores(
    vocabulary: Vocabulary, train: Interactions | None, representation: str = "tokens"
) -> dict[str, Any]:
    """Scores as JSON values, rounded to what another processor would get too."""
    from metatoken.tokens.quality.scores import score

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
    """How many of what a vocabulary holds, and where its vectors came from."""
    from metatoken.tokens.vectors.cold import count_origins

    return {
        "n_users": vocabulary.n_users,
        "n_items": vocabulary.n_items,
        "n_tokens": vocabulary.n_tokens,
        "level_sizes": list(vocabulary.levels),
        "vectors": count_origins(vocabulary.origins, vocabulary.n_users),
    }


def print_neighbours(vocabulary: Vocabulary, kind: str, raw: str, k: int, as_json: bool) -> None:
    """Prints an id with its tokens, then one neighbour a line.

    Raises:
        ArgumentError: `kind` or `k` has no such value.
        UnknownIdError: The vocabulary has no such id.
    """
    from metatoken.tokens.neighbours import nearest
    from metatoken.tokens.vectors.cold import ORIGINS

    found = nearest(vocabulary, cast("Literal['item', 'user']", kind), raw, k)
    is_user = kind == "user"
    ids, first = (vocabulary.users, 0) if is_user else (vocabulary.items, vocabulary.n_users)
    tokens = vocabulary.tokens_of(user=raw) if is_user else vocabulary.tokens_of(item=raw)
    origin = ORIGINS[vocabulary.origins[first + ids.row(raw)]]
    if origin == "none":
        warn(f"{kind} {raw} has no interaction in train; its vector is the mean of all")
    if as_json:
        report = {"id": raw, "kind": kind, "tokens": tokens, "origin": origin}
        print(json.dumps(report | {"neighbours": [asdict(n) for n in found]}, indent=2))
        return
    print(f"{kind} {raw}  {tokens}  (vector: {origin})")
    width = max((len(n.id) for n in found), default=0)
    for n in found:
        origin = "" if n.origin in ("walked", "given") else f"({n.origin}) "
        print(f"  {n.similarity:+.3f}  {n.id:<{width}}  {n.tokens}  {origin}{n.title}".rstrip())


def print_scores(facts: dict[str, Any], scores: dict[str, Any]) -> None:
    """Prints sizes, the scores of users and items, then the balance of each level."""
    flat = {name: value for name, value in facts.items() if not isinstance(value, dict)}
    for name, counts in facts["vectors"].items():
        flat[f"vectors of {name}"] = ", ".join(f"{count:,} {origin}" for origin, count in counts.items())
    print_facts([(name.replace("_", " ").removeprefix("n "), value) for name, value in flat.items()])
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
