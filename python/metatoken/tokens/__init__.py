"""From interactions to tokens: walks, vectors, codes, and the vocabulary that holds them."""
