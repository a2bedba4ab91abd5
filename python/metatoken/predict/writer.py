"""What writes a text for pairs of a user and an item: a model, or a baseline that finds one."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np

from metatoken.decode.settings import TextOptions
from metatoken.decode.text import candidates, write
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from metatoken.decode.text import Prompt
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
        options, model = self.options, (self.module.network, self.module.tokenizer)
        if len(pairs) == 0:
            return []
        return self._batched(
            pairs, lambda prompts, alone: [write(*model, prompts, options, alone=alone, seed=self.seed)]
        )[0]

    def write_by_novelty(self, pairs: Pairs, values: Sequence[float]) -> list[list[str]]:
        """Texts for each pair by each novelty, out of the same beams: `[values][n]`."""
        options, model = self.options, (self.module.network, self.module.tokenizer)

        def every(prompts: Sequence[Prompt], alone: Prompt) -> list[list[str]]:
            found = candidates(*model, prompts, options, alone=alone, seed=self.seed)
            return [found.chosen(value) for value in values]

        return self._batched(pairs, every)

    def _batched(self, pairs: Pairs, ask: Callable[[Sequence[Prompt], Prompt], list[list[str]]]) -> list[list[str]]:
        """What `ask` gives for the prompts of pairs and for their words alone, `[any][n]`."""
        questions, template = QuestionEncoder(self.module.builder.encoder), self.template or pairs.task.templates[0]
        prompts = [questions.question(pairs, row, template) for row in range(len(pairs))]
        alone = questions.encoder.only_words(template)
        # Prompts of like length side by side, for less padding.
        order = np.argsort([len(ids) for ids, _ in prompts], kind="stable")
        parts = [order[at : at + BATCH].tolist() for at in range(0, len(pairs), BATCH)]
        asked = [ask([prompts[row] for row in rows], alone) for rows in parts]
        found = (list(chain.from_iterable(texts)) for texts in zip(*asked, strict=True))
        back = np.argsort(order).tolist()
        return [[texts[place] for place in back] for texts in found]
