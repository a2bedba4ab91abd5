"""The trie for people who call `generate`: a `LogitsProcessor` and a `prefix_allowed_tokens_fn`.

Both work on token ids of the model that generates, so they serve an exported folder, a model of your own whose
tokenizer got the item tokens, or the sequences of a prefix table. `TokenTrie` is `Trie` over such ids. The search of
`metatoken.decode.beam` is faster by far and knows filters; these are for what only `generate` can do: sampling, other
beam variants, text before or after the item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import LogitsProcessor

from metatoken.data.ragged import Ragged
from metatoken.errors import ArgumentError
from metatoken.tokens.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike
    from torch import Tensor


class TokenTrie:
    """Item tuples as a model's token ids.

    Args:
        ids: Integer `[n_items, depth]` token ids of each item, -1 padded at the end: an exported prefix table, or
            `vocabulary.item_tokens` with `base` added. Or a `Trie` over such ids.
        end: Token id, or ids, that may follow a whole item. Without one, an item must be the last thing generated: let
            `max_new_tokens` be the number of levels.

    Attributes:
        trie: `Trie` whose codes are token ids.
        end: int64 `[any]`.

    Raises:
        ArgumentError: Rows repeat, or items end at different depths and no `end` tells where.
    """

    def __init__(self, ids: ArrayLike | Trie, *, end: int | Sequence[int] | None = None) -> None:
        self.trie = ids if isinstance(ids, Trie) else Trie.from_codes(ids)
        self.end = np.atleast_1d(np.array([] if end is None else end, dtype=np.int64))
        if len(self.end) == 0 and (self.trie.codes() < 0).any():
            raise ArgumentError("end", "expected an end token id, because items have different numbers of tokens")
        # Nodes are numbered by parent, then by code, so keys ascend, and one search finds a child.
        # The last key is nobody's, so that a search ends within them.
        self._children = Ragged(self.trie.first_child.astype(np.int64) - 1, self.trie.code[1:].astype(np.int64))
        self._stride = int(self.trie.code.max(initial=0)) + 1
        keys = self._children.owners * self._stride + self._children.values
        self._keys = np.append(keys, np.iinfo(np.int64).max)

    @classmethod
    def from_codes(
        cls, codes: ArrayLike, offsets: Sequence[int], *, end: int | Sequence[int] | None = None
    ) -> TokenTrie:
        """Item tuples from codes, integer `[n_items, depth]`, -1 padded: token ids are `offsets[level] + code`.

        Raises:
            ArgumentError: There are fewer offsets than levels, or see the class.
        """
        array = np.asarray(codes)
        if array.ndim != 2 or len(offsets) < array.shape[1]:
            raise ArgumentError("offsets", f"expected one for each level of codes {list(array.shape)}")
        return cls(np.where(array >= 0, array + np.asarray(offsets)[: array.shape[1]], -1), end=end)

    def subset(self, rows: ArrayLike) -> TokenTrie:
        """The same for some item rows only: an allow list.

        Raises:
            ArgumentError: A row is unknown.
        """
        return TokenTrie(self.trie.subset(rows), end=self.end.tolist() or None)

    def step(self, nodes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Node behind each node and token, int64 `[R]`; -1 where there is none, or from -1."""
        keys = nodes * self._stride + tokens
        place = np.searchsorted(self._keys, keys)
        there = (nodes >= 0) & (tokens >= 0) & (tokens < self._stride)
        return np.where(there & (self._keys[place] == keys), place + 1, -1)

    def nodes(self, generated: ArrayLike, *, stop: bool = False) -> np.ndarray:
        """Node that each row of generated ids `[R, T]` leads to, int64 `[R]`; -1 where it left the trie.

        Args:
            generated: Integer `[R, T]`.
            stop: Leave out end tokens and whatever follows them.
        """
        ids = np.asarray(generated, dtype=np.int64)
        over = np.logical_or.accumulate(np.isin(ids, self.end), axis=1) & stop
        nodes = np.zeros(len(ids), dtype=np.int64)
        for column, done in zip(ids.T, over.T, strict=True):
            nodes = np.where(done, nodes, self.step(nodes, column))
        return nodes

    def allowed(self, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Token ids that may follow each row of generated ids `[R, T]`, flat: `(rows, ids)`.

        Behind a whole item these are the end tokens (beside its children, if it has some). Behind an end token, or
        anything that is no prefix of an item, the end tokens again: finished beams must go on with something.
        """
        nodes = self.nodes(generated)
        inside = np.flatnonzero(nodes >= 0)
        children = self._children.take(nodes[inside])
        closed = np.flatnonzero((nodes < 0) | (self.trie.terminal[np.maximum(nodes, 0)] >= 0))
        rows = np.concatenate([inside[children.owners], np.repeat(closed, len(self.end))])
        return rows, np.concatenate([children.values, np.tile(self.end, len(closed))])

    def items(self, generated: ArrayLike) -> np.ndarray:
        """Item row of each row of generated ids `[R, T]` up to an end token, int64 `[R]`; -1 for no whole item."""
        nodes = self.nodes(generated, stop=True)
        leaf = np.where(nodes >= 0, self.trie.terminal[np.maximum(nodes, 0)], -1)
        return self.trie.item_of(leaf)


class TrieLogitsProcessor(LogitsProcessor):
    """Leaves of the scores only those of tokens that continue an item.

    Args:
        tokens: The items.
        prompt_length: Ids before the item's first token: the width of the (left-padded) prompts of a causal model,
            1 (the start token) for an encoder-decoder model.
    """

    def __init__(self, tokens: TokenTrie, prompt_length: int) -> None:
        self.tokens, self.prompt_length = tokens, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores `[R, V]`, minus infinity but for the allowed tokens."""
        rows, ids = self.tokens.allowed(input_ids[:, self.prompt_length :].cpu().numpy())
        where = (torch.from_numpy(rows).to(scores.device), torch.from_numpy(ids).to(scores.device))
        return torch.full_like(scores, -torch.inf).index_put(where, scores[where])


def prefix_allowed_tokens_fn(tokens: TokenTrie, prompt_length: int) -> Callable[[int, Tensor], list[int]]:
    """The function that `generate(prefix_allowed_tokens_fn=...)` asks, once per beam and step.

    `TrieLogitsProcessor`, whose arguments it has, does the same for all beams at once.
    """
    return lambda _batch, ids: tokens.allowed(ids[None, prompt_length:].cpu().numpy())[1].tolist()
