"""Models on disk: run folders, checkpoints, exports."""
