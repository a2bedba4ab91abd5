"""`metatoken tokenize`."""


def tokenize() -> None:
    """x."""
