"""Beam search over the item trie: never an invalid id, never a seen item, never the whole vocabulary.

A beam carries its trie node. At every level only the choices at the beams' nodes are scored (normalized as in
training), nodes without an allowed item below them are dropped *before* the beams are cut, and the cut is widened until
the kept nodes hold at least k allowed items. So k items come back whenever k are allowed. Filters remove candidates;
they never change a probability (docs/design.md, decision 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from metatoken.config import Settings, setting
from metatoken.decode.filters import ItemFilter
from metatoken.decode.search import Candidates, best, best_children, best_leaves, roots
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike

    from metatoken.decode.search import Logits
    from metatoken.model.network import Network
    from metatoken.model.prefix import Prefix
    from metatoken.tasks.batch import Batch


@dataclass(frozen=True)
class Recommendations:
    """Best items of each prompt.

    Attributes:
        items: int64 `[B, k]` item rows, best first, -1 where fewer than k are allowed.
        scores: float `[B, k]` log-probabilities, minus infinity at -1.
    """

    items: Tensor
    scores: Tensor


@dataclass(frozen=True)
class DiverseBeams(Settings):
    """Diverse beams (Vijayakumar et al., 2018), their Hamming penalty taken on the first code of an item.

    The k items come from `groups` searches, one after the other, each for its share. A search leaves out the items of
    those before it, and each of these items takes `penalty` off the score of its first code. The scores that come back
    are log-probabilities without the penalty.
    """

    section: ClassVar[str] = "diversity"

    groups: int = setting(4, "Searches; 1 is plain beam search.", ge=1)
    penalty: float = setting(1.0, "Taken off a log-probability; 0 changes nothing but the beams that are cut.", ge=0)


@torch.no_grad()
def beam_search(
    network: Network,
    batch: Batch,
    blocked: Sequence[np.ndarray] | None = None,
    *,
    allowed: Sequence[np.ndarray | None] | None = None,
    catalogue: ArrayLike | None = None,
    k: int = 10,
    width: int = 20,
    leaf: bool | None = None,
    prefix: Prefix | None = None,
    diversity: DiverseBeams | None = None,
) -> Recommendations:
    """The k most probable allowed items of each prompt, by the generation head; ties go to the lower leaf.

    Args:
        network: In evaluation mode.
        batch: Prompts.
        blocked: See `ItemFilter`.
        allowed: See `ItemFilter`.
        catalogue: See `ItemFilter`.
        k: Items to return per prompt.
        width: Least number of beams kept per level.
        leaf: Score the last token with leaf vectors; None follows the network.
        prefix: Result of `network.start(batch)`, to read prompts once for several uses.
        diversity: Spread the items over first codes; None for the plain search.

    Raises:
        ArgumentError: k or width below 1, lists of another length than the batch, or unknown rows.
    """
    if k < 1 or width < 1:
        raise ArgumentError("k" if k < 1 else "width", f"expected at least 1, got {min(k, width)}")
    filters = ItemFilter(network.index, len(batch.input_ids), blocked=blocked, allowed=allowed, catalogue=catalogue)
    search = _Search(network, batch, leaf, prefix)
    ranked = search(filters, k, width) if diversity is None else _diverse(search, filters, k, width, diversity)
    return as_table(network, *ranked, filters.n_prompts, k)


class Decoder:
    """What every way of decoding starts from: prompts that were read, and vectors that score what follows."""

    def __init__(self, network: Network, batch: Batch, leaf: bool | None, prefix: Prefix | None) -> None:
        self.network, self.leaf = network, network.leaf if leaf is None else leaf
        self.prefix = network.start(batch) if prefix is None else prefix
        self.scaled = network.generation.scaled(network.table())
        self.states = network.bridge.queries(self.prefix.last) / network.item_head.temperature


class _Search(Decoder):
    """Searches for the same prompts, any number of times."""

    def __call__(
        self, filters: ItemFilter, k: int, width: int, bonus: Tensor | None = None
    ) -> tuple[Candidates, Tensor]:
        """The k best leaves of each prompt with their ranks; `bonus` `[B, C]` is added to the scores of first codes."""
        index, prefix, beams = self.network.index, self.prefix, roots(self.prefix.last)
        source, held = beams.rows, torch.zeros_like(beams.rows)
        parts: list[Candidates] = []
        for level in range(index.depth):
            if self.leaf:
                leafy = index.leafy[beams.ids]
                vectors = self.network.leaf_vectors()
                parts.append(best_leaves(index, beams.at(leafy), self.states, vectors, filters, k))
                held = held + torch.bincount(parts[-1].owner, minlength=len(held))
                beams, source = beams.at(~leafy), source[~leafy]
            if len(beams) == 0:
                break
            if level > 0:
                prefix = self.network.advance(prefix, source, beams.ids, level - 1)
            logits = self.network.generation.level_logits(prefix.last, level, self.scaled)
            if level == 0 and bonus is not None:
                logits = self._with_bonus(logits, bonus)
            beams, items = best_children(index, beams, logits, filters, held, k, width)
            parts.append(items)
            held = held + torch.bincount(items.owner, minlength=len(held))
            source = beams.rows
        return best(Candidates.join(parts), k, len(held))

    def _with_bonus(self, logits: Logits, bonus: Tensor) -> Logits:
        """Logits at the root with a bonus that does not enter their normaliser."""
        values, end, total = logits
        if total is None:
            index = self.network.index
            total = torch.logsumexp(values[:, index.code[1 : int(index.first_child[1])].long()], dim=1)
        return values + bonus, end, total


def _diverse(
    search: _Search, filters: ItemFilter, k: int, width: int, diversity: DiverseBeams
) -> tuple[Candidates, Tensor]:
    """The items of several searches, each penalised by the first codes of those before."""
    network, n = search.network, filters.n_prompts
    bonus = torch.zeros(n, network.generation.n_codes(0), device=search.states.device)
    # The leaves of the first level's nodes begin here; these nodes are numbered from 1.
    begins = network.index.leaf_begin[1 : int(network.index.first_child[1])]
    parts: list[Candidates] = []
    groups = min(diversity.groups, k)
    for group in range(groups):
        share = k // groups + (group < k % groups)
        leaves, _ = search(filters, share, max(1, width // groups), bonus)
        first = network.index.code[torch.searchsorted(begins, leaves.ids, right=True)].long()
        parts.append(replace(leaves, scores=leaves.scores - bonus[leaves.owner, first]))
        bonus = bonus.index_put((leaves.owner, first), bonus.new_tensor(-diversity.penalty), accumulate=True)
        filters = filters.without(leaves.owner.cpu().numpy(), leaves.ids.cpu().numpy())
    return best(Candidates.join(parts), k, n)


def as_table(network: Network, leaves: Candidates, rank: Tensor, prompts: int, k: int) -> Recommendations:
    """Ranked leaves as a table of item rows."""
    items = torch.full((prompts, k), -1, device=rank.device)
    scores = torch.full((prompts, k), -torch.inf, device=rank.device)
    items[leaves.owner, rank] = network.index.leaf_items[leaves.ids].long()
    scores[leaves.owner, rank] = leaves.scores
    return Recommendations(items, scores)
