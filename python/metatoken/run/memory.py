"""How the allocator of a process that trains keeps its memory.

A training step allocates and frees the same tables of some megabytes again and again. By default glibc gives such
memory back to the system each time and asks for it anew, page by page, each of which the system clears first.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

# As <malloc.h> has them; the first is the largest that glibc takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST, KEPT = 32 << 20, 1 << 30
KNOWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_memory() -> bool:
    """Lets the process keep up to a gigabyte of memory that it frees, in blocks of at most 32 MB.

    Returns:
        Whether it does: the allocator is glibc's, and the user has not said otherwise by its variables.
    """
    if any(name in os.environ for name in KNOWN):
        return False
    with suppress(OSError, AttributeError, ValueError):
        os.confstr("CS_GNU_LIBC_VERSION")
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
    return False
