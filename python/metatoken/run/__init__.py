"""One run: configuration, folder, training, evaluation."""
