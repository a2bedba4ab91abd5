"""What writes a text for pairs of a user and an item: a model, or a baseline that finds one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from metatoken.decode.settings import TextOptions
from metatoken.decode.text import write
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder

if TYPE_CHECKING:
    from metatoken.model.model import MetaTokenModel
    from metatoken.tasks.task import Template

BATCH = 64  # questions


class Writer(Protocol):
    """Writes texts."""

    def write(self, pairs: Pairs) -> list[str]:
        """A text for each pair, `[n]`."""


class ModelWriter:
    """A trained model as a writer.

    Args:
        module: The model.
        template: How to ask; None takes the first template of the pairs' task.
        options: How texts are written; no longer than `max_text` of the model where they do not say it.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        module: MetaTokenModel,
        template: Template | None = None,
        options: TextOptions | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.module, self.template, self.seed = module, template, seed
        options = options or TextOptions()
        self.options = replace(options, max_new_tokens=options.max_new_tokens or module.settings.max_text)

    def write(self, pairs: Pairs) -> list[str]:
        """See `Writer`."""
        questions, template = QuestionEncoder(self.module.builder.encoder), self.template or pairs.task.templates[0]
        prompts = [questions.question(pairs, row, template) for row in range(len(pairs))]
        alone = questions.encoder.only_words(template)
        # Prompts of like length side by side, for less padding.
        order = np.argsort([len(ids) for ids, _ in prompts], kind="stable")
        found = [""] * len(pairs)
        for at in range(0, len(pairs), BATCH):
            rows = order[at : at + BATCH].tolist()
            asked = [prompts[row] for row in rows]
            model = self.module.network, self.module.tokenizer
            texts = write(*model, asked, self.options, alone=alone, seed=self.seed)
            for row, text in zip(rows, texts, strict=True):
                found[row] = text
        return found
