"""How much novelty texts are written with, chosen on validation texts (`evaluate.writing.novelty: auto`).

A larger novelty (`metatoken.decode.text`) makes texts differ more from one another, and in the end from what is true.
Of a short grid that value is taken whose validation texts are most diverse (distinct-2), among those whose BLEU-4 and
ROUGE-1 are both at least `KEPT` of the grid's best; where no value keeps both, the one that keeps most of the one that
it loses most of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metatoken.evaluate.text import text_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from metatoken.predict.writer import ModelWriter
    from metatoken.tasks.pairs import Pairs

GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
KEPT = 0.98
CLOSE, DIVERSE = ("bleu4", "rouge1"), "distinct2"


@dataclass(frozen=True)
class NoveltyChoice:
    """What was chosen for a task.

    Attributes:
        novelty: The value.
        tried: For each value of the grid `novelty` and its metrics on validation texts.
    """

    novelty: float
    tried: tuple[Mapping[str, float], ...]

    @property
    def plain(self) -> dict[str, Any]:
        """As `metrics.json` has it."""
        return {"novelty": self.novelty, "tried": [dict(one) for one in self.tried]}


def choose_novelty(writer: ModelWriter, pairs: Pairs) -> NoveltyChoice:
    """The novelty for a writer.

    Args:
        writer: With beams.
        pairs: Validation pairs of its task.
    """
    if len(pairs) == 0:
        return NoveltyChoice(0.0, ())
    found = writer.write_by_novelty(pairs, GRID)
    scored = [text_metrics(texts, pairs.known) for texts in found]
    tried = tuple(
        {"novelty": value} | {name: one[name] for name in (*CLOSE, DIVERSE)}
        for value, one in zip(GRID, scored, strict=True)
    )
    return NoveltyChoice(best_of(tried), tried)


def best_of(tried: Sequence[Mapping[str, float]]) -> float:
    """The novelty that the rule takes; of equals the smallest."""
    most = {name: max(one[name] for one in tried) for name in CLOSE}
    kept = [min(one[name] / most[name] if most[name] > 0 else 1.0 for name in CLOSE) for one in tried]
    enough = min(KEPT, max(kept))
    allowed = [one for one, share in zip(tried, kept, strict=True) if share >= enough]
    return max(allowed, key=lambda one: (one[DIVERSE], -one["novelty"]))["novelty"]
