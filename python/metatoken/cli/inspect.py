"""`metatoken inspect`."""


def inspect() -> None:
    """x."""
