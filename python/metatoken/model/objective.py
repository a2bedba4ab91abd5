"""The training objective: what the states of a batch must predict.

    loss = w_item CE_item + w_generation (sum_{l<L} CE_l + CE_leaf) + w_shared CE_shared

Each is a mean over the targets that it is computed for: levels behind the first one are known where a target's tokens
are written, which in a compact history is the last target of each row. Where the item head is trained, tokens follow
the states that it forms: no gradient of the first level or of `CE_leaf` reaches a state. What tells clusters and their
items apart is in `CE_item` already, and asking the same states twice ranked items worse (docs/lab.md).

`CE_item` is the item head's cross-entropy over the catalogue. Where a batch has labels beside its targets
(`tasks.label_walks`), it and `CE_1` are cross-entropies with a distribution that gives the label its share and the
target the rest; since the normaliser is the same for both, the logit of the target is replaced by the mean of the two.
`CE_l` is that of the l-th token among the children of its node, `CE_leaf` of the item among the items under its prefix
(leaf vectors), `CE_shared` of the last token by shared token vectors (`leaf: off`), trained beside it so that one run
can be decoded both ways. Where titles stand in the prompts, and in text tasks, `w_text CE_text` is added: the words of
the targets' titles, or of the answers, among the text columns. Rating tasks add `w_rating (head - r)^2`, `r` what the
biases leave over in spreads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from metatoken.model.heads.columns import all_columns, union
from metatoken.model.heads.item_scores import ItemScores
from metatoken.model.heads.items import Unit

if TYPE_CHECKING:
    from metatoken.model.heads.columns import Columns
    from metatoken.model.heads.items import ItemHead
    from metatoken.model.network import Network
    from metatoken.model.settings import Weights
    from metatoken.tasks.batch import Batch

FEW = 32  # targets of a step whose choice by the item's own vector is told where it trains nothing


@dataclass(frozen=True)
class TargetScores:
    """Log-probabilities of the targets, each `[P]`, or `[A]` for those that are written.

    Attributes:
        item: By the item head; with labels the mean of the target's and the label's.
        tokens: By the generation head with leaf vectors, one tensor per level, `[A]` behind the first; 0 where an item
            has no such level. The last is the choice among the items below a leafy node, whatever its level, `[P]`. The
            first is `[C]` where it was computed for the first C targets alone, and stands for all of them, see `share`.
        shared: That choice by shared token vectors, `[A]`; None where its weight is 0.
        text: Mean cross-entropy of title tokens, a scalar; None where there are none.
        n_text: How many those are.
        ratings: Squared errors of the rating head, `[R]`.
        share: Part of the targets that the first level was computed for.
    """

    item: Tensor
    tokens: list[Tensor]
    shared: Tensor | None
    text: Tensor | None = None
    n_text: int = 0
    ratings: Tensor | None = None
    share: float = 1.0


def target_scores(
    network: Network,
    level_states: list[Tensor],
    batch: Batch,
    columns: Columns,
    vectors: Tensor,
    *,
    shared: bool,
    calm: Tensor | None = None,
) -> TargetScores:
    """Log-probabilities of targets under both heads of a network.

    Args:
        network: Has them.
        level_states: Unit states, one tensor per level: before the item, after its first token, and so on.
        batch: Has the targets.
        columns: What the item head is normalised over.
        vectors: float `[C, d]`, vectors of these items.
        shared: Also score the last token by its shared vector.
        calm: float `[C, d]`, states before the first C targets without dropout: the first token is scored from them,
            and no gradient of the tokens reaches the states before an item, which the item head forms.
    """
    generation, index, rows, targets = network.generation, network.index, network.table(), batch.targets
    path, choice, leaf_level = index.path[targets], index.choice[targets], index.leaf_level[targets]
    queries = network.bridge.queries(level_states[0])
    own, total, inside, label = _item_scores(queries, columns, network.item_head, vectors)
    states = level_states if calm is None else [calm, *level_states[1:]]

    def by_choice(level: int, at: Tensor) -> Tensor:
        """Score of the targets' choice at a level by shared tokens; 0 for rows that are not `at` it."""
        if index.uniform:
            written = slice(None) if batch.answers is None else batch.answers
            known = slice(len(states[0])) if level == 0 else written
            score = generation.choice_score(states[level], path[known, level], choice[known, level], level, rows)
            if level > 0 or batch.labels is None:
                return score
            beside = batch.labels[known]
            other = generation.choice_score(states[0], index.path[beside, 0], index.choice[beside, 0], 0, rows)
            return shared_with(batch, score, other)
        at = torch.nonzero(at)[:, 0]
        scores = generation.choice_score(states[level][at], path[at, level], choice[at, level], level, rows)
        return torch.zeros_like(own).index_put((at,), scores)

    tokens = [by_choice(level, (path[:, level] >= 0) & (leaf_level != level)) for level in range(index.depth - 1)]
    below = own - inside if columns.around else _choice_of_few(network, queries, targets).expand_as(own)
    below = below if calm is None else below.detach()
    tokens.append(below if index.uniform else torch.where(leaf_level >= 0, below, 0.0))
    by_token = None
    if shared:
        levels = [index.depth - 1] if index.uniform else range(index.depth)
        by_token = torch.stack([by_choice(level, leaf_level == level) for level in levels]).sum(0)
    item = own if label is None else shared_with(batch, own, label)
    return TargetScores(item - total, tokens, by_token, share=len(states[0]) / len(own))


@torch.no_grad()
def _choice_of_few(network: Network, queries: Tensor, targets: Tensor) -> Tensor:
    """Mean log-probability of the item among those below its node, of some targets: a figure, which trains nothing.

    To have those items of all targets in a step would be to have most of the catalogue.
    """
    index, few = network.index, slice(None, None, -(-len(targets) // FEW))
    whole = all_columns(index, targets[few])
    leaves = torch.unique(torch.cat([union(whole.begin, whole.end), whole.targets]))
    vectors = Unit.apply(network.items(index.leaf_items[leaves].long()), 1 / network.item_head.temperature)
    at, begin, end = (torch.searchsorted(leaves, one) for one in (whole.targets, whole.begin, whole.end))
    own, _, inside = ItemScores.apply(queries[few], vectors, at, begin, end, None, False)
    chosen: Tensor = own - inside
    mean: Tensor = chosen[torch.isfinite(chosen)].sum() / len(chosen)
    return mean


def shared_with(batch: Batch, target: Tensor, label: Tensor) -> Tensor:
    """Mean of the logits or log-probabilities of targets and of the labels beside them, weighted by their shares."""
    return target if batch.label_share is None else torch.lerp(target, label, batch.label_share)


def _item_scores(
    states: Tensor, columns: Columns, item_head: ItemHead, vectors: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Logit of each target, log-normalisers over all items and over those below its node, logit of its label, `[P]`."""
    scaled = Unit.apply(vectors, 1 / item_head.temperature)
    own, total, inside = ItemScores.apply(
        states, scaled, columns.targets, columns.begin, columns.end, columns.bias, torch.is_grad_enabled()
    )
    if columns.labels is None:
        return own, total, inside, None
    # Labels are there in full, so their logits need no correction.
    return own, total, inside, torch.linalg.vecdot(states, F.embedding(columns.labels, scaled))


def loss_parts(scores: TargetScores, weights: Weights, normaliser: Tensor | None = None) -> dict[str, Tensor]:
    """The weighted loss and its parts: `loss`, and those of `item`, `generation`, `shared`, `text`, `rating` there are.

    Args:
        scores: Scores of the targets of a batch.
        weights: Weights of the parts.
        normaliser: float `[4]`, what sums over targets, text tokens, ratings and answers are divided by; None gives
            means over those of this batch.
    """
    parts: dict[str, Tensor] = {}
    if len(scores.item) > 0:
        targets = len(scores.item) if normaliser is None else normaliser[0]
        outer, inner = scores.tokens[0].sum() / scores.share, scores.tokens[1:-1]
        outer = outer + sum(below.sum() for below in scores.tokens[1:][-1:])
        parts = {"item": -scores.item.sum() / targets, "generation": -outer / targets}
        if inner:
            answers = len(inner[0]) if normaliser is None else normaliser[3]
            parts["generation"] = parts["generation"] - torch.stack(inner).sum() / answers
        if scores.shared is not None:
            answers = len(scores.shared) if normaliser is None else normaliser[3]
            parts["shared"] = -scores.shared.sum() / answers
    if scores.text is not None:
        parts["text"] = scores.text if normaliser is None else scores.text * (scores.n_text / normaliser[1])
    if scores.ratings is not None:
        parts["rating"] = scores.ratings.mean() if normaliser is None else scores.ratings.sum() / normaliser[2]
    total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return {"loss": total, **parts}
