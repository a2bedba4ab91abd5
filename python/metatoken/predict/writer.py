"""What writes a text for pairs of a user and an item: a model, or a baseline that finds one."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np

from metatoken.decode.settings import TextOptions
from metatoken.decode.text import candidates, write
from metatoken.errors import ArgumentError
from metatoken.model.build import question_length
from metatoken.tasks.pairs import Pairs
from metatoken.tasks.questions import QuestionEncoder
from metatoken.tasks.task import tasks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from metatoken.decode.text import Prompt
    from metatoken.model.model import MetaTokenModel
    from metatoken.tasks.task import Template

BATCH = 64  # questions
TEXTS = 256  # beams or draws at once: the past of one takes 6 MB in SmolLM2-135M


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
        check_room(module, options.max_new_tokens)

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
        encoder, template = self.module.builder.encoder, self.template or pairs.task.templates[0]
        longer = max(0, int(self.options.max_new_tokens or 0) - self.module.settings.max_text)
        questions = QuestionEncoder(encoder, None if encoder.room is None else encoder.room - longer)
        prompts = [questions.question(pairs, row, template) for row in range(len(pairs))]
        alone = encoder.only_words(template)
        # Prompts of like length side by side, for less padding.
        order = np.argsort([len(ids) for ids, _ in prompts], kind="stable")
        size = max(1, min(BATCH, TEXTS // self.options.width))
        parts = [order[at : at + size].tolist() for at in range(0, len(pairs), size)]
        asked = [ask([prompts[row] for row in rows], alone) for rows in parts]
        found = (list(chain.from_iterable(texts)) for texts in zip(*asked, strict=True))
        back = np.argsort(order).tolist()
        return [[texts[place] for place in back] for texts in found]


def check_room(module: MetaTokenModel, longest: int | None, argument: str = "max_new_tokens") -> None:
    """Refuses texts that may be longer than what the longest question leaves of the backbone's positions.

    Args:
        module: The model.
        longest: Tokens of a text at most; None for `max_text` of the model, for which there is room.
        argument: Says so.

    Raises:
        ArgumentError: They may.
    """
    positions, limit = module.network.backbone.max_positions, module.settings.max_text
    if longest is None or positions is None:
        return
    encoder, tasks = module.builder.encoder, tasks_of(module.tasks, "write")
    asked = (question_length(encoder, task, template, limit)[0] for task in tasks for template in task.templates)
    left = positions - max(asked, default=0) - 2
    if longest > max(left, limit):
        said = f"expected at most {left}, what the longest question leaves of the backbone's {positions} positions"
        raise ArgumentError(argument, f"{said}, got {longest}")
