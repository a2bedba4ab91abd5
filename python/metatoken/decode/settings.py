"""How texts are written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from metatoken.config import SettingError, Settings, setting, shown
from metatoken.model.settings import ModelSettings

AUTO: Literal["auto"] = "auto"
Novelty = float | Literal["auto"]


def parse_novelty(value: Any) -> Novelty:
    """`"auto"`, or a number from 0 to 1, perhaps as text; else `ValueError`."""
    if value == AUTO:
        return AUTO
    with suppress(TypeError, ValueError):
        if not isinstance(value, bool) and 0 <= float(value) <= 1:
            return float(value)
    raise ValueError(f"expected a number from 0 to 1, or {AUTO}, got {shown(value)}")


@dataclass(frozen=True)
class TextOptions(Settings):
    """How to write; the names are those of `transformers.GenerationConfig`."""

    max_new_tokens: int | None = setting(None, "Longest text in tokens; by default model.max_text of a run.", ge=1)
    min_new_tokens: int = setting(1, "Shortest text; 1, since no text that is learned from is empty.", ge=0)
    num_beams: int = setting(1, "Beams; 1 is greedy.", ge=1, le=10_000)
    do_sample: bool = setting(False, "Draw from the distribution instead of taking its best token.")
    temperature: float = setting(1.0, "Temperature of the draw.", ge=1e-6, le=1e6)
    top_p: float = setting(1.0, "Share of the probability that is drawn from.", gt=0, le=1)
    novelty: Novelty = setting(
        0.0,
        "What of the log-probability of a text whoever asks is taken off when one of the beams is chosen, from 0 to 1; "
        "auto chooses it on validation texts, for each task.",
        parse=parse_novelty,
    )
    consensus: int = setting(
        1,
        "Texts that are drawn for each question, of which the one is given that shares most words with the others; "
        "needs do_sample.",
        ge=1,
        le=1000,
    )
    bfloat16: bool = setting(
        False, "Write with weights and states in bfloat16: faster where a processor or a card computes in it."
    )
    no_repeat_ngram_size: int = setting(0, "No n-gram of this length twice in a text; 0 allows all.", ge=0)

    def check(self) -> None:
        """Refuse a shortest text that is longer than the longest."""
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            said = f"expected at most max_new_tokens, {self.max_new_tokens}, got {self.min_new_tokens}"
            raise SettingError(("min_new_tokens",), said)
        if self.novelty != 0 and self.num_beams == 1:
            raise SettingError(("novelty",), "chooses among beams; set num_beams above 1, e.g. 10")
        if self.consensus > 1 and not self.do_sample:
            said = "is of texts that are drawn; set do_sample, and temperature, e.g. 0.5"
            raise SettingError(("consensus",), said)
        if self.consensus > 1 and self.num_beams > 1:
            raise SettingError(("consensus",), f"is of single draws; set num_beams to 1, got {self.num_beams}")

    def settled(self, novelty: float) -> Self:
        """The options with a novelty that was chosen, where it was to be."""
        return replace(self, novelty=novelty) if self.novelty == AUTO else self

    @property
    def candidates(self) -> int:
        """Texts that are written for a question, of which one is given: its beams, or what is drawn."""
        return self.num_beams if self.novelty != 0 else self.consensus

    @property
    def width(self) -> int:
        """Texts that are written behind a question at once: its beams, or what is drawn."""
        return max(self.num_beams, self.consensus)

    def arguments(self) -> dict[str, Any]:
        """Arguments of `generate`; those of drawing only where it draws."""
        given = self.plain() | {"max_new_tokens": self.max_new_tokens or ModelSettings.max_text}
        del given["novelty"], given["consensus"], given["bfloat16"]
        if self.candidates > 1:
            given["num_return_sequences"] = self.candidates
        if self.do_sample:
            given["top_k"] = 0  # all tokens, where `generate` by itself draws from the best 50
        else:
            del given["temperature"], given["top_p"]
        if self.no_repeat_ngram_size == 0:
            del given["no_repeat_ngram_size"]
        return given
