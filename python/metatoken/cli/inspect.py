"""`metatoken inspect`: what is in a log, how good a vocabulary is, and which ids are near each other in it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from metatoken.cli import options
from metatoken.cli.csv_files import check_csv, csv_option, flat, write_csv
from metatoken.cli.health import healths, print_health
from metatoken.cli.look import look
from metatoken.cli.output import print_facts, say, warn
from metatoken.data.settings import LogSettings
from metatoken.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from metatoken.data import Interactions, Split
    from metatoken.tokens.vocabulary import Vocabulary

near_option = options.panel("Neighbours of one id")
quality_option = options.panel("Quality of the vectors")
Representation = Annotated[
    str, typer.Option(help="Score the sum of token centroids (tokens) or the skip-gram vectors (vectors).")
]
HeldOut = Annotated[
    str | None,
    quality_option(help="Link AUC on held-out pairs: validation or test of --log, or a file of its format."),
]
Groups = Annotated[
    str | None, quality_option(help="FILE[:IDCOLUMN:COLUMN] of groups of items: how many of the k nearest share one.")
]


Written = Annotated[
    Path | None, typer.Option("--write", help="Of a log: save the configuration that reads it, to train with.")
]
What = Annotated[Path | None, typer.Argument(help="A vocabulary, a run, or a log.", show_default=False)]


@options.with_log
def inspect(
    *,
    what: What = None,
    write: Written = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file at --write.")] = False,
    near: Annotated[str | None, near_option("--id", help="Raw id whose neighbours to list.")] = None,
    kind: Annotated[str, near_option(help="item or user.")] = "item",
    k: Annotated[int, near_option("-k", help="How many neighbours.")] = 10,
    representation: Representation = "tokens",
    log: Annotated[Path | None, options.log_option(help="Score a vocabulary against this log.")] = None,
    heldout: HeldOut = None,
    negatives: Annotated[int | None, quality_option(help="Non-edges drawn for each pair; by default all.")] = None,
    groups: Groups = None,
    seed: options.Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    csv: Annotated[Path | None, csv_option("facts, scores or neighbors")] = None,
    **fields: Any,
) -> None:
    """Look at a log before anything is built, score a vocabulary or that of a run, or list the neighbours of an id.

    Of a log, it says how it was understood and what may spoil the numbers; columns that are not named are guessed. Of a
    vocabulary, it prints memorization, diversity, balance and collisions: without --log, memorization is the one that
    `tokenize` computed on its training part. Of one that was extended, it says whether a rebuild is due.
    """
    from metatoken.tokens.storage import read_scores
    from metatoken.tokens.vocabulary import Vocabulary

    given = options.log_fields(fields)
    check_csv(csv, {"WHAT": what, "--log": log}, ("name", "value") if near is None else NEIGHBOURS)
    vocabulary = None if what is None else vocabulary_in(what)
    if vocabulary is None:
        about = {"--id": near, "--log": log, "--heldout": heldout, "--negatives": negatives, "--groups": groups}
        if given_too := next((name for name, value in about.items() if value is not None), None):
            if what is not None and not what.exists():
                raise DataError("is no vocabulary or run; nothing is there", what)
            raise ArgumentError(given_too, "is about a vocabulary or a run, and this is a log")
        usual = LogSettings(path=Path())
        look(
            what,
            {name: value for name, value in given.items() if value != getattr(usual, name)},
            write,
            overwrite,
            as_json,
            csv,
        )
        return
    if write is not None:
        raise ArgumentError("--write", f"is about a log, and {what} is a vocabulary or a run")
    loaded = Vocabulary.load(vocabulary)
    if near is not None:
        print_neighbours(loaded, kind, near, k, as_json, csv)
        return
    part = options.read_split(log, given)[0] if log is not None else None
    facts = size(loaded)
    facts |= link_quality(loaded, heldout, part, given, negatives, seed)
    if groups is not None:
        facts |= same_groups(loaded, groups, k)
    saved = (read_scores(vocabulary) if part is None else None) or {}
    found = saved.get("representation") == representation
    scores = saved if found else compute_scores(loaded, None if part is None else part.train, representation)
    grown = healths(loaded)
    document = facts | scores
    document |= {"health": {kind: rounded(one.to_dict()) for kind, one in grown.items()}} if grown else {}
    if csv is not None:
        write_csv(csv, list(flat(document)))
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        print_scores(facts, scores)
        print_health(grown)


def vocabulary_in(place: Path) -> Path | None:
    """The vocabulary at a place, that of a run or the folder itself, sound or not; None where a log may be."""
    for folder in (place / "vocabulary", place):
        if (folder / "manifest.json").is_file() or any(folder.glob("*.safetensors")):
            return folder
    return place if place.is_dir() and not any(place.iterdir()) else None


def compute_scores(
    vocabulary: Vocabulary, train: Interactions | None, representation: Any = "tokens"
) -> dict[str, Any]:
    """Scores as JSON values, rounded to what another processor would get too."""
    from metatoken.tokens.quality.scores import score

    return cast("dict[str, Any]", rounded(score(vocabulary, train, representation=representation).to_dict()))


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


def same_groups(vocabulary: Vocabulary, groups: str, k: int) -> dict[str, Any]:
    """How many of the k nearest items share a group of a file, as JSON values."""
    from metatoken.tokens.files import read_groups
    from metatoken.tokens.quality.links import group_quality

    own = vocabulary.trained[vocabulary.n_users :]
    links = read_groups(groups, vocabulary.items, "item")
    links = replace(links, rows=links.rows[own[links.rows]], values=links.values[own[links.rows]])
    quality = group_quality(vocabulary.vectors[vocabulary.n_users :], links, k)
    return {f"same_group_at_{k}": round(quality.same, 6), "same_group_by_chance": round(quality.chance, 6)}


def link_quality(
    vocabulary: Vocabulary,
    heldout: str | None,
    split: Split | None,
    columns: dict[str, Any],
    negatives: int | None,
    seed: int,
) -> dict[str, Any]:
    """Link AUC on held-out pairs, as JSON values; nothing where no pairs are named."""
    from metatoken.tokens.quality.links import link_auc
    from metatoken.tokens.vectors.skipgram import Embeddings

    if heldout is None:
        if negatives is not None:
            raise ArgumentError("--negatives", "is about the pairs of --heldout")
        return {}
    if vocabulary.n_users == 0:
        raise ArgumentError("--heldout", "the vocabulary has items only, and links are between users and items")
    if split is not None and (vocabulary.users, vocabulary.items) != (split.log.users, split.log.items):
        raise ArgumentError("--log", "has other users or items than the vocabulary; give the log that made it")
    users, items = held_out_rows(vocabulary, heldout, split, columns)
    known = None if split is None else split.train.sequences()
    if known is None:
        warn("without --log, training edges count as non-edges, which lowers the AUC")
    n = vocabulary.n_users
    vectors = Embeddings(vocabulary.vectors, n, vocabulary.n_items, vocabulary.trained)
    walked = vocabulary.trained[:n][users] & vocabulary.trained[n:][items]
    auc = link_auc(vectors, users, items, seed, known=known, negatives="all" if negatives is None else negatives)
    return {"link_auc": round(auc, 6), "link_pairs": len(users), "link_pairs_without_vector": int((~walked).sum())}


def held_out_rows(
    vocabulary: Vocabulary, heldout: str, split: Split | None, columns: dict[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """User and item rows of held-out pairs: a part of the split, or those of a file that the vocabulary knows."""
    import numpy as np

    from metatoken.data import Interactions

    if heldout in ("validation", "test"):
        if split is None:
            raise ArgumentError("--heldout", f"{heldout} is a part of the log; give it with --log")
        targets = split.targets("validation" if heldout == "validation" else "test")
        return targets.users.astype(np.int64), targets.items.astype(np.int64)
    named = {name: columns[name] for name in ("format", "user", "item", "separator", "encoding") if name in columns}
    log = Interactions.read(heldout, **named)
    users, items = (
        np.array([ids.row(raw) if raw in ids else -1 for raw in theirs.raw])[log.frame[name].to_numpy()]
        for name, ids, theirs in (("user", vocabulary.users, log.users), ("item", vocabulary.items, log.items))
    )
    known = (users >= 0) & (items >= 0)
    if not known.all():
        left = f"{int((~known).sum()):,} of {len(known):,} held-out pairs are left out"
        warn(f"{left}: their ids are not in the vocabulary")
    return users[known].astype(np.int64), items[known].astype(np.int64)


NEIGHBOURS = ("id", "title", "tokens", "similarity", "origin")


def print_neighbours(
    vocabulary: Vocabulary, kind: str, raw: str, k: int, as_json: bool, csv: Path | None = None
) -> None:
    """Prints an id with its tokens, then one neighbor per line, and writes them as CSV where a file is named."""
    from metatoken.tokens.neighbours import nearest
    from metatoken.tokens.vectors.cold import ORIGINS

    found = nearest(vocabulary, cast("Literal['item', 'user']", kind), raw, k)
    is_user = kind == "user"
    ids, first = (vocabulary.users, 0) if is_user else (vocabulary.items, vocabulary.n_users)
    tokens = vocabulary.tokens_of(user=raw) if is_user else vocabulary.tokens_of(item=raw)
    origin = ORIGINS[vocabulary.origins[first + ids.row(raw)]]
    if origin == "none":
        warn(f"{kind} {raw} has no interaction in train; its vector is the mean of all")
    if csv is not None:
        write_csv(csv, [asdict(n) for n in found], NEIGHBOURS)
    if as_json:
        report = {"id": raw, "kind": kind, "tokens": tokens, "origin": origin}
        print(json.dumps(report | {"neighbours": [asdict(n) for n in found]}, indent=2))
        return
    say(f"{kind} {raw}  {tokens}  (vector: {origin})")
    width = max((len(n.id) for n in found), default=0)
    for n in found:
        origin = "" if n.origin in ("walked", "given") else f"({n.origin}) "
        say(f"  {n.similarity:+.3f}  {n.id:<{width}}  {n.tokens}  {origin}{n.title}".rstrip())


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
