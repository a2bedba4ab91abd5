from collections.abc import Callable, Sequence
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trie"]

_Beams: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]
_Logits: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None]
_Filters: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32] | None]
_Kept: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]

@final
class Trie:
    """The item trie: arrays that were checked once, and the steps of a search over them.

    Methods that search take

    - beams: offsets of each prompt's beams int64 `[prompts + 1]`, nodes int32 `[R]`, log-probabilities float32 `[R]`;
    - filters: offsets of each prompt's list int64 `[prompts + 1]`, sorted leaves of all lists int32, whether a list
      denies bool `[prompts]`, allowed leaves before each leaf int32 `[items + 1]` (None: all are);

    and give candidates as counts int64 `[prompts]`, then flat, by prompt and score: ids int32 (nodes or leaves), scores
    float32, the beam that each came from int64. A value that does not fit is an `ArgumentError`.
    """

    @staticmethod
    def from_codes(codes: NDArray[np.int32], threads: int | None, progress: Callable[[int, int], None] | None) -> Trie:
        """The trie of codes int32 `[items, depth]`, C-contiguous, padded with -1; rows must be distinct."""

    @staticmethod
    def from_arrays(arrays: Sequence[NDArray[np.int32]], depth: int) -> Trie:
        """The trie of what `arrays` gave; copies them. `ArgumentError` where they are no trie."""

    @property
    def depth(self) -> int:
        """Codes of the longest tuple allowed."""

    def arrays(self) -> list[NDArray[np.int32]]:
        """Read-only views, int32, in the order of `metatoken.tokens.trie.NAMES`.

        code `[nodes]`, first_child `[nodes + 1]` in nodes, leaf_begin and leaf_end `[nodes]` in leaves, leaf_items
        `[items]` in item rows, terminal `[nodes]` in leaves or -1.
        """

    def best_children(
        self, beams: _Beams, logits: _Logits, filters: _Filters, found: NDArray[np.int64], k: int, width: int
    ) -> tuple[_Kept, _Kept]:
        """The best inner nodes and the best k leaves among the choices at all beams.

        Args:
            beams: Nodes with children.
            logits: float32 `[R, C]` by code; of ending `[R]` or None; log-normaliser `[R]`, or None for that over the
                choices at each node.
            filters: Allowed leaves.
            found: int64 `[prompts]`, items that each prompt has already.
            k: Items wanted.
            width: Nodes kept at least for each prompt.
        """

    def best_leaves(
        self, beams: _Beams, states: NDArray[np.float32], vectors: NDArray[np.float32], filters: _Filters, k: int
    ) -> _Kept:
        """The best k leaves below all beams, by a softmax over the leaves of each.

        Args:
            beams: Nodes whose leaves are scored.
            states: float32 `[prompts, d]`, divided by the temperature.
            vectors: float32 `[items, d]` in leaf order.
            filters: Allowed leaves.
            k: Items wanted.
        """
