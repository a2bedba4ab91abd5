from metatoken._core import cluster, codes, graph, search, skipgram

__version__: str
__all__ = ["__version__", "cluster", "codes", "graph", "search", "skipgram"]
