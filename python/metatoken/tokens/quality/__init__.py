"""Whether tokens are any good: scores of vectors, codes and links."""
