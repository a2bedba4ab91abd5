"""`metatoken config`."""

from __future__ import annotations


def config() -> None:
    """Print every key of a configuration with its default and what it means."""
    from metatoken.run.template import template

    print(template(), end="")
