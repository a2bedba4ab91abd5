"""metatoken: logs into tokens of a language model, and the model into a recommender.

The public names load on first use, so that `import metatoken` and the command line start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metatoken.data import Interactions, Split, audit, generate_world, leave_last_out, no_split
    from metatoken.tokens.vocabulary import Vocabulary

# Public name -> module that defines it; the imports above say the same to type checkers.
_HOMES = {
    "Interactions": "metatoken.data",
    "Split": "metatoken.data",
    "Vocabulary": "metatoken.tokens.vocabulary",
    "audit": "metatoken.data",
    "generate_world": "metatoken.data",
    "leave_last_out": "metatoken.data",
    "no_split": "metatoken.data",
}

__all__ = ["Interactions", "Split", "Vocabulary", "audit", "generate_world", "leave_last_out", "no_split"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'metatoken' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
