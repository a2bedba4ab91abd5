"""Link AUC and same-group@k of a vocabulary's vectors, for `metatoken inspect`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.cli.output import warn
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from metatoken.cli.options import LogOptions
    from metatoken.data import Interactions, Split
    from metatoken.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class QualityOptions:
    """What the options say; see `inspect`."""

    heldout: str | None
    negatives: int | None
    groups: str | None
    k: int
    seed: int


def vector_quality(
    vocabulary: Vocabulary, options: QualityOptions, split: Split | None, columns: LogOptions
) -> dict[str, Any]:
    """The figures that were asked for, as JSON values.

    Raises:
        ArgumentError: Options do not go together, or the vocabulary has no users to link.
        DataError: A file cannot be read.
    """
    found: dict[str, Any] = {}
    if options.heldout is not None:
        found |= _links(vocabulary, options, split, columns)
    elif options.negatives is not None:
        raise ArgumentError("--negatives", "is about the pairs of --heldout")
    if options.groups is not None:
        from metatoken.tokens.files import read_groups
        from metatoken.tokens.quality.links import group_quality

        own = vocabulary.trained[vocabulary.n_users :]
        links = read_groups(options.groups, vocabulary.items, "item")
        links = replace(links, rows=links.rows[own[links.rows]], values=links.values[own[links.rows]])
        quality = group_quality(vocabulary.vectors[vocabulary.n_users :], links, options.k)
        found |= {
            f"same_group_at_{options.k}": round(quality.same, 6),
            "same_group_by_chance": round(quality.chance, 6),
        }
    return found


def _links(vocabulary: Vocabulary, options: QualityOptions, split: Split | None, columns: LogOptions) -> dict[str, Any]:
    import numpy as np

    from metatoken.tokens.quality.links import link_auc
    from metatoken.tokens.vectors.skipgram import Embeddings

    if vocabulary.n_users == 0:
        raise ArgumentError("--heldout", "the vocabulary has items only, and links are between users and items")
    parts = {"validation": "validation", "test": "test"}
    if split is not None and (vocabulary.users, vocabulary.items) != (split.log.users, split.log.items):
        raise ArgumentError("--log", "has other users or items than the vocabulary; give the log that made it")
    if options.heldout in parts:
        if split is None:
            raise ArgumentError("--heldout", f"{options.heldout} is a part of the log; give it with --log")
        targets = split.targets("validation" if options.heldout == "validation" else "test")
        users, items = targets.users.astype(np.int64), targets.items.astype(np.int64)
    else:
        users, items = _rows(vocabulary, Path(str(options.heldout)), columns)
    known = None if split is None else split.train.sequences()
    if known is None:
        warn("without --log, training edges count as non-edges, which lowers the AUC")
    n = vocabulary.n_users
    vectors = Embeddings(vocabulary.vectors, n, vocabulary.n_items, vocabulary.trained)
    walked = vocabulary.trained[:n][users] & vocabulary.trained[n:][items]
    auc = link_auc(
        vectors,
        users,
        items,
        options.seed,
        known=known,
        negatives="all" if options.negatives is None else options.negatives,
    )
    return {"link_auc": round(auc, 6), "link_pairs": len(users), "link_pairs_without_vector": int((~walked).sum())}


def _rows(vocabulary: Vocabulary, path: Path, columns: LogOptions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """User and item rows of the pairs of a file that the vocabulary knows."""
    import numpy as np

    from metatoken.data import Interactions

    log = _read(Interactions, path, columns)
    users, items = (
        np.array([ids.row(raw) if raw in ids else -1 for raw in theirs.raw])[log.frame[name].to_numpy()]
        for name, ids, theirs in (("user", vocabulary.users, log.users), ("item", vocabulary.items, log.items))
    )
    known = (users >= 0) & (items >= 0)
    if not known.all():
        left = f"{int((~known).sum()):,} of {len(known):,} held-out pairs are left out"
        warn(f"{left}: their ids are not in the vocabulary")
    return users[known].astype(np.int64), items[known].astype(np.int64)


def _read(kind: type[Interactions], path: Path, columns: LogOptions) -> Interactions:
    form: Any = columns.form
    return kind.read(path, form, user=columns.user, item=columns.item)
