"""From interactions to tokens: walks, vectors, codes, and the vocabulary that holds them."""

from metatoken.tokens.codes.clustering import Codebook
from metatoken.tokens.graph.walks import Graph
from metatoken.tokens.neighbours import Neighbour, nearest
from metatoken.tokens.quality.scores import Scores, score
from metatoken.tokens.vectors.skipgram import Embeddings
from metatoken.tokens.vocabulary import Vocabulary

__all__ = ["Codebook", "Embeddings", "Graph", "Neighbour", "Scores", "Vocabulary", "nearest", "score"]
