"""Large pages for tables whose rows are read in no order, as `rust/pages.rs` has them for those of the core.

A processor keeps the places of some thousand pages at hand. On pages of 4 KB a table of 300,000 rows of 64 numbers has
nearly twenty thousand, so that almost every row that a step takes out of it is looked up anew; on pages of 2 MB it has
37.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

# As Linux has them: ask for large pages from now on, and make them of what is there.
HUGE_PAGE, COLLAPSE = 14, 25
LARGE = 1 << 21


def on_large_pages(tensors: Iterable[Tensor]) -> int:
    """Puts tensors on large pages, as far as the system has them to give; nothing but speed depends on that.

    Args:
        tensors: Of any shape. Those that are not in the processor's memory, or smaller than a large page, are left.

    Returns:
        Bytes that lie on large pages now; 0 where the system does not move memory that is in use.
    """
    moved = 0
    if not sys.platform.startswith("linux"):
        return moved
    with suppress(OSError, AttributeError):
        advise = ctypes.CDLL(None).madvise
        for tensor in tensors:
            begin, size = _pieces(tensor)
            piece = ctypes.c_void_p(begin), ctypes.c_size_t(size)
            # The first advice alone changes pages that are touched later, if any.
            if size and advise(*piece, HUGE_PAGE) == 0 and advise(*piece, COLLAPSE) == 0:
                moved += size
    return moved


def _pieces(tensor: Tensor) -> tuple[int, int]:
    """Address and bytes of the whole large pages within a tensor's memory."""
    if tensor.device.type != "cpu" or tensor.is_sparse or not tensor.is_contiguous():
        return 0, 0
    address = tensor.data_ptr()
    begin, end = -(-address // LARGE) * LARGE, (address + tensor.nbytes) // LARGE * LARGE
    return begin, max(0, end - begin)
