"""Generation head: an item token by token along the trie, and its leaf by the item's own vector.

With `h` a unit state and `u` a unit vector, a logit is `h . u / tau` (docs/design.md, decision 11), and

    p(item) = prod_l p(t_l | t_<l),

each factor a softmax over the children of the trie node that the tokens so far lead to (`normaliser="trie"`, decision
4). Inner tokens are scored with the shared token vectors. The last token names one item, and with `leaf: on` it is
scored with that item's own vector against the state before the item, the very product of the item head:
`p(i | prefix) = exp z_i / sum_{j under prefix} exp z_j` (decision 10). With `leaf: off` it is scored with the shared
token vector against the state after the prefix, as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from metatoken.model.heads.trie_index import TrieIndex


class GenerationHead(nn.Module):
    """Log-probabilities of an item's tokens given the node they start from.

    Args:
        index: The item trie.
        level_offsets: First local token id of each level.
        temperature: `tau`.
        dim: Width of the states.
        normaliser: What shared tokens are normalized over: `trie`, the choices at the node; `full`, all OOV tokens
            whatever their level (and ending, where the trie knows it). Leaf vectors are always normalized over the
            items below their prefix.

    Attributes:
        end: float `[d]`, the vector of ending; None where no item's tuple is a prefix of another's.
    """

    def __init__(
        self, index: TrieIndex, level_offsets: list[int], temperature: float, dim: int, normaliser: str = "trie"
    ) -> None:
        super().__init__()
        self.index = index
        self.level_offsets = level_offsets
        self.temperature = temperature
        self.normaliser = normaliser
        self.end = nn.Parameter(torch.randn(dim) * 0.02) if index.has_end else None

    def n_codes(self, level: int) -> int:
        """Codes of a level."""
        return self.level_offsets[level + 1] - self.level_offsets[level]

    def token_of(self, nodes: Tensor, level: int) -> Tensor:
        """Local ids of the tokens that lead to nodes below depth `level`, int64 `[R]`."""
        return self.index.code[nodes].long() + self.level_offsets[level]

    def scaled(self, rows: Tensor) -> Tensor:
        """Unit token vectors over the temperature: what states are multiplied with, `[n_tokens, d]`."""
        return F.normalize(rows, dim=-1) / self.temperature

    def level_logits(self, states: Tensor, level: int, scaled: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Logits of a level's tokens; of no other token unless the normaliser needs them.

        Args:
            states: float `[R, d]` unit states.
            level: Level of the tokens.
            scaled: float `[n_tokens, d]` of `scaled`.

        Returns:
            Logits by code `[R, C]`, logit of ending `[R]` or None, log-normaliser `[R]` or None for that of the trie.
        """
        begin, stop = self.level_offsets[level], self.level_offsets[level + 1]
        end = None if self.end is None else states @ self.scaled(self.end)
        if self.normaliser == "trie":
            return states @ scaled[begin:stop].T, end, None
        logits = states @ scaled.T
        total = torch.logsumexp(logits, dim=1)
        return logits[:, begin:stop], end, total if end is None else torch.logaddexp(total, end)

    def children_scores(self, states: Tensor, nodes: Tensor, level: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the choices at each node, by shared token vectors.

        Padded to the widest node, which is never wider than the level's logits; the search over many beams works on
        flat lists instead (`metatoken.decode.search`).

        Args:
            states: float `[R, d]` unit states.
            nodes: int `[R]` nodes of depth `level`.
            level: Depth of the nodes, the level of their children's tokens.
            rows: float `[n_tokens, d]` composed token vectors.

        Returns:
            `(log_probabilities [R, C], choices [R, C])`, minus infinity and node 0 where there is no child. Where the
            trie has items that end above others, the last column is ending, and its choice is the node itself.
        """
        ids, real = self.index.children_of(nodes)
        logits, end, total = self.level_logits(states, level, self.scaled(rows))
        code = self.index.code[ids].clamp_min(0).long()
        scores = logits.gather(1, code).masked_fill(~real, -torch.inf)
        if end is not None:
            ends = self.index.terminal[nodes.long()] >= 0
            scores = torch.cat([scores, end.masked_fill(~ends, -torch.inf)[:, None]], dim=1)
            ids = torch.cat([ids, nodes.to(ids.dtype)[:, None]], dim=1)
        return (torch.log_softmax(scores, dim=1) if total is None else scores - total[:, None]), ids

    def choice_score(self, states: Tensor, nodes: Tensor, choice: Tensor, level: int, rows: Tensor) -> Tensor:
        """Log-probability of one choice at each node, `[R]`.

        A choice (int `[R]`) is a child, or the node itself for ending; other arguments as in `children_scores`.
        """
        scores, _ = self.children_scores(states, nodes, level, rows)
        column = choice.long() - self.index.first_child[nodes.long()]
        if self.end is not None:
            column = torch.where(choice == nodes, scores.shape[1] - 1, column)
        return scores.gather(1, column.long()[:, None]).squeeze(1)
