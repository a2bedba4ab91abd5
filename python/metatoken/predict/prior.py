"""What a fused list takes in beside the model: counted transitions, and likeness where items have categories.

    p(i | user) = q_transitions(i)^(1 - share) q_content(i)^share / sum_j ...,    q = p + .01 / n_items

A product of both, as the fused list is one of the item head and this prior. Where no item is like those of the user it
is that of the transitions alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from metatoken.predict.choice import STEPS, Choice
from metatoken.predict.content import ContentGraph
from metatoken.predict.transitions import TransitionGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from metatoken.data.interactions import Interactions
    from metatoken.data.ragged import Sequences
    from metatoken.data.split import Split

    Float32 = NDArray[np.float32]

BATCH = 256  # users that are scored at once
CHANCE = 0.01  # of all items together, in q
SHARES = tuple(n / STEPS for n in range(1, STEPS // 2 + 1))  # that content may have in a fused list
Form = Literal["product", "sum"]
"""How opinions are put together."""


@dataclass(frozen=True)
class Prior:
    """What is counted and what is alike, together.

    Attributes:
        transitions: Counted.
        content: By categories; None where there are none, or they have no share.
        share: Its share, from 0 to 1.
        form: Of what: of a product, or, in runs of before there was one, of the sum of both probabilities.
    """

    transitions: TransitionGraph
    content: ContentGraph | None
    share: float
    form: Form = "product"

    @classmethod
    def fit(cls, train: Interactions, share: float = 0.0, form: Form = "product") -> Prior:
        """Counts what is in `train`, and compares the categories of its items if they have a share."""
        return cls(TransitionGraph.fit(train), None, 0.0).with_share(train, share, form)

    def with_share(self, train: Interactions, share: float, form: Form) -> Prior:
        """The same counts beside what is alike in `train`, with another share of that."""
        return replace(self, content=ContentGraph.fit(train) if share > 0 else None, share=share, form=form)

    @classmethod
    def chosen(cls, split: Split, *, limit: int = 2000, seed: int = 0) -> Prior:
        """The prior of a split's train whose share has the best NDCG@10 on validation users, the least among equals.

        Args:
            split: The log, split.
            limit: Users at most, drawn once.
            seed: Seed of the draw.
        """
        whole = cls.fit(split.train, 1.0)
        targets, history = split.targets("validation"), split.history("validation")
        if whole.content is None or len(targets) == 0:
            return cls(whole.transitions, None, 0.0)
        drawn = np.arange(len(targets))
        if len(drawn) > limit:
            drawn = np.sort(np.random.default_rng(seed).choice(drawn, limit, replace=False))
        choice = Choice()
        for at in range(0, len(drawn), BATCH):
            users, items = targets.users[drawn[at : at + BATCH]], targets.items[drawn[at : at + BATCH]]
            counted, alike = (one.scores(history, users) for one in (whole.transitions, whole.content))
            known = np.where(alike.any(axis=1, keepdims=True), alike, counted)
            first, second = (opinion(torch.from_numpy(one)) for one in (counted, known))
            choice.add(first, second, torch.from_numpy(items.astype(np.int64)), [history[user] for user in users])
        return cls(whole.transitions, whole.content if choice.weight > 0 else None, choice.weight)

    def scores(self, history: Sequences, users: NDArray[Any]) -> Float32:
        """See `Ranker`."""
        counted = self.transitions.scores(history, users)
        if self.content is None:
            return counted
        return (multiplied if self.form == "product" else mixed)(
            counted, self.content.scores(history, users), self.share
        )

    def by_share(self, history: Sequences, users: NDArray[Any]) -> Iterator[tuple[float, Float32]]:
        """What `scores` would be with no share of content, and with each of `SHARES` if there is content."""
        counted = self.transitions.scores(history, users)
        yield 0.0, counted
        if self.content is not None:
            alike = self.content.scores(history, users)
            yield from ((share, multiplied(counted, alike, share)) for share in SHARES)


def opinion(prior: torch.Tensor) -> torch.Tensor:
    """`log q` of probabilities, both float `[B, n_items]`."""
    return torch.log(prior + CHANCE / prior.shape[1])


def multiplied(transitions: Float32, content: Float32, share: float) -> Float32:
    """The product of both, float32 `[b, n_items]`, each row of which sums to 1."""
    known = content.any(axis=1)
    counted, alike = (opinion(torch.from_numpy(one[known])) for one in (transitions, content))
    both = transitions.copy()
    both[known] = torch.softmax((1.0 - share) * counted + share * alike, dim=1).numpy()
    return both


def mixed(transitions: Float32, content: Float32, share: float) -> Float32:
    """The sum of both, float32 `[b, n_items]`."""
    known = np.where(content.any(axis=1, keepdims=True), np.float32(share), np.float32(0.0))
    both: Float32 = transitions + known * (content - transitions)
    return both
