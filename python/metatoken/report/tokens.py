"""How good the tokens are: how evenly they are used, what stands near what, and where items lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from metatoken.report.drawing import INK, SERIES, Picture, draw
from metatoken.tokens.names import LETTERS
from metatoken.tokens.neighbours import nearest
from metatoken.tokens.quality.health import health
from metatoken.tokens.quality.scores import LevelBalance, Scores, balance, score

if TYPE_CHECKING:
    from metatoken.report.subject import Subject

EXAMPLES, NEAR = 3, 5  # items whose neighbors are shown, and how many


@dataclass(frozen=True)
class TokenFindings:
    """What was found out about the tokens of a run.

    Attributes:
        scores: Of the vocabulary.
        levels: How evenly items use the tokens of each level.
        due: Why it should be made anew; nothing for one that was never extended.
    """

    scores: Scores
    levels: tuple[LevelBalance, ...]
    due: list[str]

    @classmethod
    def of(cls, subject: Subject) -> TokenFindings:
        """Looks at a run; takes seconds to minutes."""
        vocabulary, due = subject.data.vocabulary, []
        for kind in ("item", "user"):
            found = health(vocabulary, kind)
            due += [] if found is None else [f"{kind}s: {reason}" for reason in found.due]
        levels = balance(vocabulary.item_codes, vocabulary.levels)
        return cls(score(vocabulary, subject.data.split.train), levels, due)


def token_section(subject: Subject, found: TokenFindings, prefix: str) -> dict[str, Any]:
    """Facts, levels, a picture of their fill, and neighbors of some items.

    Args:
        subject: The run.
        found: About its tokens.
        prefix: Of the ids of pictures.
    """
    levels = [
        {
            "name": level.level, "used": f"{level.used:,} of {level.tokens:,}", "even": f"{level.entropy:.3f}",
            "fullest": f"{level.max_over_mean:.1f} × mean",  # noqa: RUF001 (times)
        }
        for level in found.levels
    ]  # fmt: skip
    return {
        "facts": _facts(subject, found),
        "levels": levels,
        "picture": _fill(subject, prefix),
        "neighbours": _neighbours(subject),
    }


def _facts(subject: Subject, found: TokenFindings) -> list[tuple[str, str]]:
    vocabulary = subject.data.vocabulary
    facts = [("an item is", f"{vocabulary.depth} tokens, such as {vocabulary.tokens_of(item=vocabulary.items.raw[0])}")]
    for kind, part in (("items", found.scores.items), ("users", found.scores.users)):
        if part is None:
            continue
        facts.append((f"{kind} whose tokens another has too", f"{part.id_collision_rate:.1%}"))
        if part.memorization is not None and part.memorization.spearman is not None:
            told = f"{part.memorization.spearman:.2f} (Spearman; 0: none, 1: all)"
            facts.append((f"how well tokens of {kind} remember the log", told))
        facts.append((f"directions in use by {kind}", f"{part.diversity.effective_rank:.1f} of {vocabulary.dim}"))
    walked = vocabulary.trained[vocabulary.nodes("item")]
    facts.append(("items with a vector learned from the log", f"{int(walked.sum()):,} of {len(walked):,}"))
    return facts


def _fill(subject: Subject, prefix: str) -> Picture:
    vocabulary = subject.data.vocabulary
    columns = zip(LETTERS, vocabulary.levels, vocabulary.item_codes.T, strict=False)
    counts = {letter: np.sort(np.bincount(c[c >= 0], minlength=n))[::-1] for letter, n, c in columns}

    def paint(axes: Axes) -> None:
        for (letter, count), color in zip(counts.items(), SERIES, strict=False):
            share = np.arange(len(count) + 1) / len(count) * 100
            axes.stairs(count / max(count.mean(), 1e-12), share, color=color, label=f"level {letter}", linewidth=1.8)
        axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        axes.set(xlabel="% of the tokens of a level, fullest first", ylabel="items, against the mean", xlim=(0, 100))
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right", labelcolor=INK, handlelength=1.2)

    said = "The nearer a line is to the dashed one, the more evenly items are spread over the tokens of the level."
    said += " Tokens that only users have count as empty." if vocabulary.n_users else ""
    return draw(f"{prefix}-fill", "Fill of the levels", said, paint)


def _neighbours(subject: Subject) -> list[dict[str, Any]]:
    """Items from popular to rare with their nearest ones."""
    order = np.argsort(-subject.popularity, kind="stable")
    order = order[subject.data.vocabulary.trained[subject.data.vocabulary.nodes("item")][order]]
    chosen = dict.fromkeys(order[len(order) * n // EXAMPLES] for n in range(EXAMPLES) if len(order))
    found, items = [], subject.data.catalogue.items
    for row in map(int, chosen):
        near = nearest(subject.data.vocabulary, "item", items.raw[row], NEAR)
        told = [{"title": subject.title(items.row(one.id)), "cosine": f"{one.similarity:.2f}"} for one in near]
        tokens = subject.data.vocabulary.tokens_of(item=items.raw[row])
        found.append(
            {"title": subject.title(row), "tokens": tokens, "taken": int(subject.popularity[row]), "near": told}
        )
    return found
