"""From interactions to tokens: walks, vectors, codes, and the vocabulary that holds them."""

from metatoken.tokens.clustering import Codebook
from metatoken.tokens.neighbours import Neighbour, nearest
from metatoken.tokens.scores import Scores, score
from metatoken.tokens.skipgram import Embeddings
from metatoken.tokens.vocabulary import Vocabulary
from metatoken.tokens.walks import Graph

__all__ = ["Codebook", "Embeddings", "Graph", "Neighbour", "Scores", "Vocabulary", "nearest", "score"]
