"""`ItemFilter`: which items each prompt may get, as ranges of trie leaves.

A search asks one thing: how many allowed items stand below this node? For a prompt with a deny list that is the number
of leaves below, less the denied ones among them; for one with an allow list it is the number of listed ones. Either is
two binary searches in a sorted list. A mask over the whole catalogue becomes a prefix sum, so it costs two look-ups
whatever its size. Filters remove candidates and never change a probability (docs/design.md, decision 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from metatoken.data.ragged import Ragged, check_rows
from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from metatoken.model.heads.trie_index import TrieIndex


class ItemFilter:
    """Allowed items of each prompt of a batch.

    An item is allowed where `catalogue` has it, its prompt has no allow list or lists it, and its deny list does not.

    Args:
        index: The trie.
        n_prompts: Prompts in the batch.
        blocked: Item rows to leave out, one array per prompt, in any order, repeats allowed; None for no such lists.
        allowed: The only eligible item rows, one array per prompt, or None for all; an empty array allows
            nothing.
        catalogue: bool `[n_items]`, item rows that any prompt may get.

    Attributes:
        offsets: int64 `[n_prompts + 1]`, where each prompt's list begins.
        leaves: int32, sorted leaves of each list.
        inverted: bool `[n_prompts]`, whether a list says what is left out.
        prefix: int32 `[n_items + 1]` allowed leaves before each leaf, or None without `catalogue`.

    Raises:
        ArgumentError: A list is missing, or a row is not in the catalogue.
    """

    def __init__(
        self,
        index: TrieIndex,
        n_prompts: int,
        *,
        blocked: Sequence[np.ndarray] | None = None,
        allowed: Sequence[np.ndarray | None] | None = None,
        catalogue: ArrayLike | None = None,
    ) -> None:
        self.n_items, self.n_prompts = index.n_items, n_prompts
        self._index, device = index, index.leaf_of.device
        self.prefix: Tensor | None = None
        open_leaves = None if catalogue is None else self._open(catalogue)
        if open_leaves is not None:
            counts = torch.cumsum(torch.from_numpy(open_leaves), 0, dtype=torch.int32)
            self.prefix = torch.cat([counts.new_zeros(1), counts]).to(device)
        denied = self._keys("blocked", blocked)
        keys, self.inverted = denied, np.ones(n_prompts, dtype=bool)
        if allowed is not None:
            self.inverted = np.array([one is None for one in allowed], dtype=bool)
            listed = self._keys("allowed", [np.zeros(0, np.int64) if one is None else one for one in allowed])
            listed = listed[~np.isin(listed, denied, assume_unique=True)]
            keys = np.sort(np.concatenate([listed, denied[self.inverted[denied // self.n_items]]]))
        if open_leaves is not None:
            keys = keys[open_leaves[keys % self.n_items]]
        self._inverted = torch.from_numpy(self.inverted).to(device)
        self._list(keys)

    def _list(self, keys: NDArray[np.int64]) -> None:
        """Takes sorted keys as the lists of the prompts."""
        self.offsets = np.searchsorted(keys, np.arange(self.n_prompts + 1) * self.n_items)
        self.leaves = (keys % self.n_items).astype(np.int32)
        self._sorted = torch.from_numpy(keys).to(self._inverted.device)

    def _open(self, catalogue: ArrayLike) -> NDArray[np.bool_]:
        """The mask in leaf order."""
        mask = np.asarray(catalogue)
        if mask.dtype != bool or mask.shape != (self.n_items,):
            raise ArgumentError(
                "catalogue", f"expected bool [{self.n_items}], one per item, got {mask.dtype} {list(mask.shape)}"
            )
        ordered: NDArray[np.bool_] = mask[self._index.trie.leaf_items]
        return ordered

    def _keys(self, name: str, lists: Sequence[np.ndarray] | None) -> NDArray[np.int64]:
        """Key `prompt * n_items + leaf` of every listed item, sorted, each once."""
        if lists is None:
            return np.zeros(0, dtype=np.int64)
        if len(lists) != self.n_prompts:
            raise ArgumentError(
                name, f"expected one array for each of {self.n_prompts} prompts, got {len(lists)}; give [] for none"
            )
        listed, leaf_of = Ragged.of(lists), self._index.leaf_of
        rows = torch.from_numpy(check_rows(listed.values, self.n_items, name)).to(leaf_of.device)
        return np.unique(listed.owners * self.n_items + leaf_of[rows].cpu().numpy())

    def without(self, owner: NDArray[np.int64], leaves: NDArray[np.int64]) -> ItemFilter:
        """The same filter without some leaves of some prompts, elementwise; they must be allowed now."""
        other = object.__new__(ItemFilter)
        vars(other).update(vars(self))
        gone = owner * self.n_items + leaves
        keys = self._sorted.cpu().numpy()
        denied = gone[self.inverted[owner]]
        other._list(np.sort(np.concatenate([keys[~np.isin(keys, gone)], denied])))
        return other

    def count(self, prompts: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """Allowed leaves of `prompts` in `begin..end`, int64, elementwise."""
        offset = prompts * self.n_items
        listed = torch.searchsorted(self._sorted, offset + end) - torch.searchsorted(self._sorted, offset + begin)
        every = (end - begin if self.prefix is None else self.prefix[end] - self.prefix[begin]).to(listed.dtype)
        return torch.where(self._inverted[prompts], every - listed, listed)

    def native(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32] | None]:
        """offsets, leaves, inverted, prefix as the core takes them."""
        return self.offsets, self.leaves, self.inverted, None if self.prefix is None else self.prefix.numpy()
