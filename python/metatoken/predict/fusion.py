"""Fusion: one list from the item head and a prior, counted transitions and what is alike (`metatoken.predict.prior`).

    p(i | user) = p_item(i)^w_item q(i)^w_prior / sum_j p_item(j)^w_item q(j)^w_prior,    q = p_prior + .01 / n_items

A product of two opinions: an item that one of them thinks unlikely stays behind, which a sum of probabilities cannot
say (logarithmic opinion pool, Genest and Zidek 1986). The second term of q leaves a chance to items without
interactions, and the order of the prior as it is. The weights sum to 1, are chosen on validation users by NDCG@10 and
are stored with the model.

Runs of versions before 0.3 hold weights of a sum, `w_item p_item + w_generation p_generation + w_prior p_prior`, and
are served as they were.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from metatoken.artifacts import atomic_file, read_json, write_json
from metatoken.errors import ArtifactError, MetatokenWarning
from metatoken.model.heads.ranking import item_scores
from metatoken.predict.choice import Choice
from metatoken.predict.partners import pooled
from metatoken.predict.prior import Form, Prior, opinion
from metatoken.tasks.ranking import EvaluationBatches
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from metatoken.data.interactions import Interactions
    from metatoken.data.split import Split
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.partners import Partners

LEAST = 0.1  # weight below which the model as good as does not count
LEAST_FLOAT = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Fusion:
    """Weights of the fused list; they sum to 1.

    Attributes:
        item: Weight of the item head.
        generation: Weight of the generation head; 0 in a product.
        prior: Weight of the transition prior.
        users: Validation users that they were chosen on; 0 for the default.
        form: What the weights are of.
        content: Share of what is alike by categories in the prior.
        content_form: Of what this is the share, see `Prior`.
    """

    item: float = 0.6
    generation: float = 0.0
    prior: float = 0.4
    users: int = 0
    form: Form = "product"
    content: float = 0.0
    content_form: Form = "product"

    def fit_prior(self, train: Interactions) -> Prior:
        """The prior of the fused list, counted in `train`."""
        return Prior.fit(train, self.content, self.content_form)

    def scores(self, item: Tensor, prior: Tensor, generated: Tensor | None = None) -> Tensor:
        """Log-probabilities of the fused list, float `[B, n_items]`.

        Args:
            item: float `[B, n_items]`, log-probabilities of the item head.
            prior: float `[B, n_items]`, probabilities of the prior.
            generated: float `[B, n_items]`, probabilities of generated items; for a sum that gives them weight.
        """
        if self.item == 1:
            return item
        if self.form == "product":
            return torch.log_softmax(self.item * item + self.prior * opinion(prior), dim=1)
        mixed = self.item * item.exp() + self.prior * prior
        return (mixed if generated is None else mixed + self.generation * generated).clamp_min(LEAST_FLOAT).log()

    @classmethod
    def of(cls, choice: Choice, content: float = 0.0) -> Fusion:
        """The weights that were chosen for item head and prior, and the share of content in the latter."""
        if choice.users == 0:
            return cls(content=content)
        return cls(round(1 - choice.weight, 9), 0.0, choice.weight, choice.users, content=content)

    @property
    def idle(self) -> bool:
        """Whether the model as good as does not count, so that fused lists are those of the prior."""
        return self.item + self.generation < LEAST - 1e-9

    def sentence(self) -> str:
        """The weights, for a person."""
        generation = "" if self.form == "product" else f"{self.generation:g} generation, "
        alike = f" ({self.content:g} of them by categories)" if self.content else ""
        return f"{self.item:g} item head, {generation}{self.prior:g} transitions{alike}"

    def warn(self) -> None:
        """Warns where the model as good as does not count: `MetatokenWarning`, with what to try."""
        if self.idle:
            weight = "no weight" if self.prior == 1 else f"a weight of {self.item + self.generation:g} in all"
            warnings.warn(
                f"the fusion gives the model {weight}, so what is served is the transition graph alone; try more "
                "epochs (trainer.max_epochs, trainer.patience), less dropout, or more data; the list item_head is the "
                "model's own",
                MetatokenWarning,
                stacklevel=3,
            )

    def save(self, path: str | Path) -> None:
        """Writes a JSON file."""
        with atomic_file(path) as work:
            write_json(work, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Fusion:
        """Reads a JSON file.

        Raises:
            ArtifactError: It is missing or not what `save` writes.
        """
        values = read_json(Path(path))
        with suppress(TypeError, AttributeError):
            older = {"form": "sum", "content_form": "sum" if values.get("content") else "product"}
            fusion = cls(**older | values)
            if {"item", "prior"} <= values.keys() and fusion._sound():
                return fusion
        raise ArtifactError(
            f"{path}: expected fusion weights: shares item, generation and prior that sum to 1 and a share content, "
            "numbers from 0 to 1; forms product or sum, a product without generation; and a count of users; got "
            f"{values!r:.300}; take the file of an undamaged copy of the run"
        )

    def _sound(self) -> bool:
        """Whether every field is of its kind, and the weights sum to 1."""
        weights, forms = (self.item, self.generation, self.prior), get_args(Form)
        known = all(one in forms for one in (self.form, self.content_form))
        shares = all(type(one) in (int, float) and 0.0 <= one <= 1.0 for one in (*weights, self.content))
        counted = type(self.users) is int and self.users >= 0
        whole = shares and math.isclose(sum(weights), 1.0, abs_tol=1e-6)
        return known and counted and whole and (self.form == "sum" or self.generation == 0)


@torch.no_grad()
def choose_fusion(
    module: MetaTokenModel,
    split: Split,
    *,
    partners: Partners | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Fusion:
    """Weights for a model and the share of content, from validation items, among equals the least share.

    A model without the task sequential has its item head alone.

    Args:
        module: The model; it is put into evaluation mode.
        split: The log, split.
        partners: Further models, whose item heads are pooled with that of the model.
        limit: Users at most, drawn once; None takes all.
        batch_size: Prompts in a batch.
        seed: Seed of the draw.
        progress: Called with (batches done, batches in all).
    """
    if "sequential" not in module.tasks:
        return Fusion(1.0, 0.0, 0.0)
    targets, _ = split.by_length("validation")
    if len(targets) == 0:
        return Fusion()
    chosen = np.arange(len(targets))
    if limit is not None and len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    history, prior = split.history("validation"), Prior.fit(split.train, 1.0)
    template = find_task("sequential").templates[0]
    users, items = targets.users[chosen], targets.items[chosen]
    data = EvaluationBatches(module.eval().reader, template, users, items, history, batch_size=batch_size)

    choices: defaultdict[float, Choice] = defaultdict(Choice)
    for done, one in enumerate(data, 1):
        others = [] if partners is None else partners.scores(history, one.users)
        item = pooled(item_scores(module.network, one.batch), others)
        for share, known in prior.by_share(history, one.users):
            choices[share].add(item, opinion(torch.from_numpy(known)), one.targets, one.seen)
        if progress is not None:
            progress(done, len(data))
    share = max(choices, key=lambda share: (float(choices[share].gain.max()), -share))
    return Fusion.of(choices[share], share)
