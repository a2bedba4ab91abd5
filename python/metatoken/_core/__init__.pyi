from metatoken._core import cluster, codes, graph, skipgram, trie

__version__: str
__all__ = ["__version__", "cluster", "codes", "graph", "skipgram", "trie"]
