"""Heads: which item comes next, over the whole catalogue at once or token by token along the trie.

Both score by cosine with a temperature (DESIGN decision 11). With `h` a unit state and `u` a unit vector, the logit is
`h . u / tau`.

- `ItemHead`: softmax over all items.
- `GenerationHead`: `p(item) = prod_l p(t_l | t_<l)`, each factor a softmax over the children of the trie node that
  the tokens so far lead to (`normaliser="trie"`, DESIGN decision 4). Inner tokens are scored with the shared token
  vectors. The last token names one item, and with `leaf: on` it is scored with that item's own vector against the
  state before the item, the very product of the item head: `p(i | prefix) = exp z_i / sum_{j under prefix} exp z_j`
  (DESIGN decision 10). With `leaf: off` it is scored with the shared token vector against the state after the prefix,
  as published.

Item vectors stand in trie order ("leaf order"), so the items below a node are a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metatoken.errors import ArgumentError
from metatoken.model.embedding import TokenTable, rescale

if TYPE_CHECKING:
    from metatoken.decode.trie import Trie


class TrieIndex(nn.Module):
    """The trie as tensors, and where each item stands in it.

    Buffers (int64): `code`, `first_child`, `leaf_begin`, `leaf_end` per node as in `metatoken.decode.trie.Trie`;
    `leaf_items [n_items]` item row of each leaf; `leaf_of [n_items]` its inverse; `path [n_items, depth]` the node
    that each proper prefix of an item leads to, root first. All codes have one depth.
    """

    code: Tensor
    first_child: Tensor
    leaf_begin: Tensor
    leaf_end: Tensor
    leaf_items: Tensor
    leaf_of: Tensor
    path: Tensor

    def __init__(self, trie: Trie) -> None:
        super().__init__()
        for name in ("code", "first_child", "leaf_begin", "leaf_end", "leaf_items"):
            self.register_buffer(name, torch.from_numpy(getattr(trie, name)).long(), persistent=False)
        self.depth = int(trie.depth)
        n_leaves = len(self.leaf_items)
        if n_leaves == 0 or not bool((torch.from_numpy(trie.terminal)[-n_leaves:] >= 0).all()):
            raise ArgumentError("codes", "expected at least one item and codes of one depth; pad or re-fit them")
        self.register_buffer("leaf_of", torch.argsort(self.leaf_items), persistent=False)
        self.register_buffer("path", self._paths(), persistent=False)

    def _paths(self) -> Tensor:
        counts = self.first_child[1:] - self.first_child[:-1]
        parent = torch.full_like(self.code, -1)
        parent[1:] = torch.repeat_interleave(torch.arange(len(counts)), counts)
        # Numbered breadth first, leaves are the last nodes, in leaf order.
        node = len(self.code) - len(self.leaf_items) + self.leaf_of
        chain = []
        for _ in range(self.depth):
            node = parent[node]
            chain.append(node)
        return torch.stack(chain[::-1], dim=1)

    def children_of(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Children of nodes `[R]`, padded: node ids `[R, C]` and which are real `[R, C]`."""
        begin, end = self.first_child[nodes], self.first_child[nodes + 1]
        widest = int((end - begin).max()) if len(nodes) else 0
        ids = begin[:, None] + torch.arange(widest, device=nodes.device)
        real = ids < end[:, None]
        return ids.masked_fill(~real, 0), real


class ItemVectors(nn.Module):
    """Vector of every item: composed token vectors + projected entity embedding (+ features) + a free residual.

    Args:
        table: The OOV token table.
        item_tokens: int64 `[n_items, depth]` local token ids, -1 padded.
        entities: float `[n_items, c]` frozen item embeddings (skip-gram space), unit length each.
        features: float `[n_items, f]` what is known of items from outside, e.g. text vectors; zeros where nothing is.
    """

    tokens: Tensor
    entities: Tensor

    features: Tensor | None

    def __init__(
        self, table: TokenTable, item_tokens: Tensor, entities: Tensor, features: Tensor | None = None
    ) -> None:
        super().__init__()
        dim = table.weight.shape[1]
        self.table = [table]  # owned by the module that owns the backbone
        self.register_buffer("tokens", item_tokens, persistent=False)
        self.register_buffer("entities", F.normalize(entities, dim=1))
        self.projection = nn.Linear(entities.shape[1], dim)
        self.residual = nn.Parameter(torch.randn(len(entities), dim) * 0.02)
        unit = None if features is None else F.normalize(features, dim=1)
        self.register_buffer("features", unit, persistent=False)
        if unit is not None:
            self.feature_projection = nn.Linear(unit.shape[1], dim, bias=False)

    def forward(self) -> Tensor:
        """Composed vectors `[n_items, d]`, not normalised, in item-row order."""
        composed: Tensor = self.residual + self.projection(self.entities)
        if self.features is not None:
            composed = composed + self.feature_projection(self.features)
        rows = self.table[0]()
        for level in range(self.tokens.shape[1]):
            ids = self.tokens[:, level]
            composed = composed + torch.where((ids >= 0)[:, None], rows[ids.clamp_min(0)], 0.0)
        return composed

    def inputs(self, norm: float) -> Tensor:
        """Vectors that stand at an item's last token at the input, `[n_items, d]`."""
        return rescale(self(), norm)


class ItemHead(nn.Module):
    """Softmax over the catalogue, columns in leaf order.

    Args:
        temperature: `tau`; smaller is sharper.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, states: Tensor, vectors: Tensor) -> Tensor:
        """Logits `[P, n_items]` of unit states `[P, d]` against item vectors `[n_items, d]`."""
        return states @ (F.normalize(vectors, dim=-1) / self.temperature).T


class GenerationHead(nn.Module):
    """Log-probabilities of an item's tokens given the node they start from.

    Args:
        index: The item trie.
        level_offsets: First local token id of each level.
        temperature: `tau`.
    """

    def __init__(self, index: TrieIndex, level_offsets: list[int], temperature: float) -> None:
        super().__init__()
        self.index = index
        self.level_offsets = level_offsets
        self.temperature = temperature

    def children_scores(self, states: Tensor, nodes: Tensor, level: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Log-softmax over the children of each node, by shared token vectors.

        Args:
            states: float `[R, d]` unit states.
            nodes: int64 `[R]` nodes of depth `level`.
            level: Depth of the nodes, so the children's tokens are of this level.
            rows: float `[n_tokens, d]` composed token vectors.

        Returns:
            `(log_probabilities [R, C], children [R, C])`, minus infinity and node 0 where there is no child.
        """
        ids, real = self.index.children_of(nodes)
        begin, end = self.level_offsets[level], self.level_offsets[level + 1]
        logits = states @ (F.normalize(rows[begin:end], dim=-1) / self.temperature).T
        logits = logits.gather(1, self.index.code[ids].clamp_min(0)).masked_fill(~real, -torch.inf)
        return torch.log_softmax(logits, dim=1), ids

    def leaf_log_normaliser(self, item_logits: Tensor, nodes: Tensor) -> Tensor:
        """`log sum_{j under node} exp z_j` for each row, `[R]`, from logits in leaf order `[R, n_items]`."""
        begin, end = self.index.leaf_begin[nodes], self.index.leaf_end[nodes]
        widest = int((end - begin).max()) if len(nodes) else 0
        ids = begin[:, None] + torch.arange(widest, device=nodes.device)
        real = ids < end[:, None]
        inside = item_logits.gather(1, ids.masked_fill(~real, 0)).masked_fill(~real, -torch.inf)
        return torch.logsumexp(inside, dim=1)
