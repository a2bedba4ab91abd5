"""How good a vocabulary is before any model is trained: memorization, diversity, balance and sharing.

Users and items are scored apart. Nothing here needs a model or a held-out interaction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metatoken.errors import ArgumentError
from metatoken.tokens.names import LETTERS, Kind
from metatoken.tokens.quality.memorization import Matrix, Memorization, memorization
from metatoken.tokens.quality.published import published_diversity, published_memorization
from metatoken.tokens.vectors.matrix import unit_rows

if TYPE_CHECKING:
    from metatoken.data import Interactions
    from metatoken.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class Diversity:
    """How far representations of one kind differ from each other; no part depends on their length.

    Attributes:
        effective_rank: exp of the entropy of the singular values of the unit rows (Roy and Vetterli, 2007): the
            number of directions in use, 1 to dim.
        mean_cosine: Mean cosine of two different rows; near 0 is diverse, 1 is all alike. `None` for one row.
        collision_rate: Share of rows that equal another row.
    """

    effective_rank: float
    mean_cosine: float | None
    collision_rate: float


@dataclass(frozen=True)
class Published:
    """The scores by their published definitions (see `tokens.quality.published` for what is wrong with them)."""

    memorization: float | None
    diversity: float | None


@dataclass(frozen=True)
class KindScores:
    """Agreement with the log (`None` without one) and spread of the users or of the items.

    `id_collision_rate` is the share of ids whose code tuple another id of the kind also has.
    """

    memorization: Memorization | None
    diversity: Diversity
    id_collision_rate: float
    published: Published


@dataclass(frozen=True)
class LevelBalance:
    """How evenly the ids use the tokens of one level.

    Attributes:
        level: The level's letter.
        tokens: Tokens of the level.
        used: Tokens that at least one id has.
        entropy: Entropy of the tokens' shares over that of equal shares, 0 to 1.
        max_over_mean: Ids of the fullest token over the mean of all tokens, 1 or more.
    """

    level: str
    tokens: int
    used: int
    entropy: float
    max_over_mean: float


@dataclass(frozen=True)
class Scores:
    """Scores of a vocabulary.

    Attributes:
        representation: `"tokens"` (summed centroids of the tokens of an id) or `"vectors"` (skip-gram vectors).
        users: Scores of the users; `None` if there are none.
        items: Scores of the items; `None` if there are none.
        levels: Balance of each level.
        shared_tokens: Share of the tokens in use that both users and items use; `None` if a kind is missing.
    """

    representation: str
    users: KindScores | None
    items: KindScores | None
    levels: tuple[LevelBalance, ...]
    shared_tokens: float | None

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries that JSON can hold."""
        return asdict(self)


def score(
    vocabulary: Vocabulary,
    train: Interactions | None = None,
    *,
    representation: Literal["tokens", "vectors"] = "tokens",
    min_support: int = 2,
    max_pairs: int = 200_000,
    seed: int = 0,
) -> Scores:
    """Score a vocabulary.

    Args:
        vocabulary: What to score.
        train: Training interactions for memorization; `None` leaves it out.
        representation: What stands for an id: the sum of its tokens' centroids, or its vector (rows that were
            trained only).
        min_support: Fewest users two items must share (items two users) to be compared.
        max_pairs: Most pairs compared for a kind; with more, this many are drawn.
        seed: Seed of that draw.

    Raises:
        ArgumentError: A number is out of range.
        UnknownIdError: The interactions have an id that the vocabulary has not.
    """
    if representation not in ("tokens", "vectors"):
        raise ArgumentError("representation", f"expected 'tokens' or 'vectors', got {representation!r}")
    limits = {"min_support": min_support, "max_pairs": max_pairs}
    for name, value in limits.items():
        if value < 1:
            raise ArgumentError(name, f"expected 1 or more, got {value}")
    users = _score_kind(vocabulary, "user", train, representation, seed, limits)
    items = _score_kind(vocabulary, "item", train, representation, seed, limits)
    codes = np.concatenate([vocabulary.user_codes, vocabulary.item_codes])
    shared = shared_tokens(vocabulary.user_tokens, vocabulary.item_tokens)
    return Scores(representation, users, items, balance(codes, vocabulary.levels), shared)


def _score_kind(
    vocabulary: Vocabulary,
    kind: Kind,
    train: Interactions | None,
    representation: str,
    seed: int,
    limits: dict[str, int],
) -> KindScores | None:
    codes = vocabulary.user_codes if kind == "user" else vocabulary.item_codes
    if len(codes) == 0:
        return None
    nodes = vocabulary.nodes(kind)
    trained = vocabulary.trained[nodes]
    x = vocabulary.composed(kind) if representation == "tokens" else vocabulary.vectors[nodes]
    # Untrained rows all have the same vector; their tokens still differ.
    shown = x[trained] if representation == "vectors" and trained.any() else x
    memory = old_memory = None
    if train is not None:
        binary, centred = log_matrices(vocabulary, train, kind)
        memory = memorization(binary, centred, x, seed=seed, **limits)
        if centred is not None and kind == "item":
            old_memory = published_memorization(centred, x, seed)
    published = Published(old_memory, published_diversity(shown, seed))
    return KindScores(memory, diversity(shown), collision_rate(codes), published)


def log_matrices(vocabulary: Vocabulary, train: Interactions, kind: Kind) -> tuple[Matrix, Matrix | None]:
    """The log as sparse matrices, the vocabulary's rows of a kind by those of the other.

    A repeated pair counts once, with its mean rating; rows without a rating are left out where others have one.

    Returns:
        1 where they met, and rating less the column's mean at the same places (`None` without ratings).
    """
    users = vocabulary.users.rows(list(train.users.raw)) if vocabulary.n_users else np.arange(train.n_users)
    items = vocabulary.items.rows(list(train.items.raw))
    frame, rating = train.frame, None
    if "rating" in frame.columns and (known := frame["rating"].is_finite().fill_null(value=False)).any():
        frame = frame.filter(known)
        rating = frame["rating"].to_numpy().astype(np.float64)
    user, item = np.asarray(users)[frame["user"].to_numpy()], np.asarray(items)[frame["item"].to_numpy()]
    shape = (vocabulary.n_users or train.n_users, vocabulary.n_items)
    rows, columns, shape = (user, item, shape) if kind == "user" else (item, user, shape[::-1])
    count = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    binary = sparse.csr_array((np.ones_like(count.data), count.indices, count.indptr), shape=shape)
    if rating is None:
        return binary, None
    # The same places in the same order as `count`: both come from the same coordinates.
    mean = sparse.coo_array((rating, (rows, columns)), shape=shape).tocsr().data / count.data
    degree = np.bincount(count.indices, minlength=shape[1])
    column_mean = np.bincount(count.indices, mean, minlength=shape[1]) / np.maximum(degree, 1)
    centred = sparse.csr_array((mean - column_mean[count.indices], count.indices, count.indptr), shape=shape)
    return binary, centred


def diversity(x: NDArray[np.float32]) -> Diversity:
    """Spread of representations, float32 `[n, dim]`, n at least 1.

    With unit rows u_k, the mean cosine of two different rows needs no pairs: |sum u_k|^2 = sum |u_k|^2 + sum over
    ordered pairs of u_k . u_l.
    """
    unit = unit_rows(x)
    n = len(unit)
    gram = unit.T @ unit
    power = np.linalg.eigvalsh(gram).clip(min=0)
    # Squared singular values below the rounding error of the product are zeros.
    sigma = np.sqrt(np.where(power > power.max() * 1e-12, power, 0.0))
    total = unit.sum(axis=0)
    pairs = n * (n - 1)
    mean_cosine = float((total @ total - np.trace(gram)) / pairs) if pairs else None
    return Diversity(float(np.exp(entropy(sigma))), mean_cosine, collision_rate(x))


def entropy(weights: NDArray[np.floating[Any]]) -> float:
    """Entropy in nats of weights scaled to sum 1; 0 where all are zero."""
    p = weights[weights > 0] / max(weights.sum(), np.finfo(np.float64).tiny)
    return float(-(p * np.log(p)).sum()) + 0.0


def collision_rate(rows: NDArray[Any]) -> float:
    """Share of rows of a matrix that equal another row."""
    _, counts = np.unique(rows, axis=0, return_counts=True)
    return float(counts[counts > 1].sum() / len(rows))


def balance(codes: NDArray[np.int32], levels: tuple[int, ...]) -> tuple[LevelBalance, ...]:
    """Balance of each level; codes int32 `[n, depth]`, padded with -1."""
    result = []
    for letter, size, column in zip(LETTERS, levels, codes.T, strict=False):
        count = np.bincount(column[column >= 0], minlength=size).astype(np.float64)
        evenness = entropy(count) / float(np.log(size)) if size > 1 else 1.0
        peak = float(count.max() / max(count.mean(), np.finfo(np.float64).tiny))
        result.append(LevelBalance(letter, size, int(np.count_nonzero(count)), evenness, peak))
    return tuple(result)


def shared_tokens(user_tokens: NDArray[np.int64], item_tokens: NDArray[np.int64]) -> float | None:
    """Share of the tokens in use that both kinds use; tokens int64 `[n, depth]`, padded with -1."""
    users, items = (np.unique(tokens[tokens >= 0]) for tokens in (user_tokens, item_tokens))
    if len(users) == 0 or len(items) == 0:
        return None
    return len(np.intersect1d(users, items)) / len(np.union1d(users, items))
