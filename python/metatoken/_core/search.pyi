import numpy as np
from numpy.typing import NDArray

__all__ = ["best_children", "best_leaves"]

# trie: code, first_child, leaf_begin, leaf_end, terminal of a `Trie`, int32.
# beams: offsets int64 [prompts + 1], nodes int32 [R], scores float32 [R].
# logits: float32 [R, C] by code, of ending [R] or None, log-normaliser [R] or None for that over the choices.
# filters: offsets int64 [prompts + 1], sorted leaves int32, whether a list is a deny list bool [prompts], allowed
#     leaves before each leaf int32 [leaves + 1] or None.
# found: items that each prompt has already, int64 [prompts].
# Returned: counts int64 [prompts], ids int32 (nodes or leaves), scores float32, beam that each came from int64.
def best_children(
    trie: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    beams: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
    logits: tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32] | None],
    filters: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32] | None],
    found: NDArray[np.int64],
    k: int,
    width: int,
) -> tuple[
    tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]],
    tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]],
]: ...

# states: float32 [prompts, d], divided by the temperature. vectors: float32 [leaves, d].
def best_leaves(
    trie: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    beams: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
    states: NDArray[np.float32],
    vectors: NDArray[np.float32],
    filters: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32] | None],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]: ...
