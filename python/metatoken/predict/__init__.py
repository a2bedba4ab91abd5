"""From a trained model to rankings, ratings and texts."""
