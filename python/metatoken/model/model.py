"""`MetaTokenModel`: a network with all that it takes to ask it: its vocabulary, settings, tokenizer and prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from metatoken.config import expect
from metatoken.errors import ArgumentError
from metatoken.model.backbone.given import name_of
from metatoken.model.build import build_model
from metatoken.model.settings import ModelSettings
from metatoken.tasks.reader import Reader
from metatoken.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from metatoken.tasks.rating_base import RatingBase
    from metatoken.tasks.recipe import Recipe
    from metatoken.tokens.vectors.cold import FeatureMap

# All that a model is made of, for another one that shares it.
PARTS = (
    "vocabulary", "settings", "network", "builder", "tokenizer", "item_features", "ratings", "newcomers",
)  # fmt: skip


class MetaTokenModel(nn.Module):
    """A language model that knows OOV tokens. `MetaTokenModule` is one that Lightning trains.

    Args:
        vocabulary: Tokens of users and items, or the folder that they were saved in.
        settings: A ready `ModelSettings`; or give its fields as keyword arguments.
        features: float `[n_items, f]` item features, in place of reading `settings.item_features`.
        texts: Training texts (train only) that the tokenizer of a preset learns from, beside prompts and titles.
        tokenizer: In place of training or loading one: that of a saved model, or of a `backbone` that is an object.
        ratings: Meaning of the rating head's values; rating tasks need it.
        **fields: Fields of `ModelSettings`, e.g. `backbone="path/or/name", lora={"r": 16}, tasks=["sequential"]`. As
            `backbone` a language model of transformers may be given itself, in float32; it is adapted in place.

    Raises:
        ConfigError: A setting cannot be used.
        ArgumentError: The vocabulary has no items, or an object cannot be a backbone.
        ArtifactError: The folder of the vocabulary cannot be read.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | str | Path,
        settings: ModelSettings | None = None,
        *,
        features: np.ndarray | None = None,
        texts: Sequence[str] = (),
        tokenizer: Any = None,
        ratings: RatingBase | None = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        if isinstance(vocabulary, str | Path):
            vocabulary = Vocabulary.load(vocabulary)
        expect("vocabulary", vocabulary, Vocabulary)
        given = fields.pop("backbone") if isinstance(fields.get("backbone"), nn.Module) else None
        if settings is not None and fields:
            raise ArgumentError("settings", "give either ready settings or single fields, not both")
        named: dict[str, Any] = {} if given is None else {"backbone": name_of(given)}
        self.vocabulary, self.ratings = vocabulary, ratings
        self.newcomers: FeatureMap | None = None  # of an extension, see metatoken.model.growth
        asked = ModelSettings.of(None, fields | named) if settings is None else replace(settings, **named)
        parts = build_model(vocabulary, asked, features=features, texts=texts, tokenizer=tokenizer, given=given)
        # What was left to a default is saved as what it came to, since a later version may have another default.
        self.settings, self.network, self.builder, self.tokenizer, self.item_features = parts
        self.train()  # a pretrained backbone comes in evaluation mode

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the model's tasks."""
        return self.settings.tasks

    @property
    def user_tokens(self) -> str:
        """How sequential prompts use user tokens."""
        return self.settings.user_tokens

    @property
    def recipe(self) -> Recipe:
        """How to train it on the log of its vocabulary, where nobody says otherwise; `max_epochs` is for a trainer."""
        return self.settings.recipe(self.vocabulary.n_targets)

    @property
    def reader(self) -> Reader:
        """How the model reads prompts, for everything that makes them."""
        about = self.settings
        return Reader(
            self.builder,
            self.tokenizer,
            self.user_tokens,
            about.max_text,
            self.ratings,
            about.reworded or 0.0,
            about.reworded_texts or 0.0,
            about.feature_words,
        )
