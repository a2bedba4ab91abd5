"""The native core: plain arrays in, plain arrays out.

Every function checks shapes and values and raises `metatoken.errors.ArgumentError` where one does not fit; an array of
another dtype or number of dimensions is a `TypeError`. Arrays must be C-contiguous. Long work releases the interpreter,
listens for Ctrl-C, calls `progress(done, total)` about every 50 ms, and gives the same bytes for any number of
`threads` (None: all cores). `kernel` names one of the instruction sets of `cluster.kernels()`; None takes that of the
environment variable METATOKEN_KERNEL, else the fastest.
"""

from metatoken._core import cluster, codes, graph, skipgram, softmax, top, transitions, trie

__version__: str
__all__ = ["__version__", "cluster", "codes", "graph", "skipgram", "softmax", "top", "transitions", "trie"]
