"""What tasks need to know of a model: how it reads prompts, and what its ratings mean.

The one door between the data module and the model that is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metatoken.tasks.examples import ExampleBuilder
    from metatoken.tasks.rating_base import RatingBase


@dataclass(frozen=True)
class Reader:
    """How a model reads.

    Attributes:
        builder: Makes prompts of histories.
        tokenizer: Tokenizer of the backbone.
        user_tokens: One of `metatoken.tasks.user_tokens.MODES`.
        max_text: Most tokens of a text.
        ratings: What values of the rating head mean; None where no task rates.
        reworded: Chance that a step of training reads a template in part by other words, see
            `metatoken.tasks.rewording`.
        reworded_texts: The same for rows of tasks that write.
        feature_words: Words that stand in for a missing feature, see `metatoken.tasks.telling`; 0 for none.
    """

    builder: ExampleBuilder
    tokenizer: Any
    user_tokens: str
    max_text: int
    ratings: RatingBase | None = None
    reworded: float = 0.0
    reworded_texts: float = 0.0
    feature_words: int = 0
