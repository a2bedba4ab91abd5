"""Out-of-vocabulary tokens for users and items: interaction logs become a language-model recommender.

The public names load when they are first used, so that `import metatoken` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metatoken.data import Interactions, Split, audit, generate_world, leave_last_out, no_split, random_split
    from metatoken.model.module import MetaTokenModule
    from metatoken.model.settings import ModelSettings
    from metatoken.recommend import Recommendation, Recommender
    from metatoken.tasks.datamodule import TaskDataModule
    from metatoken.tasks.log_datamodule import LogDataModule
    from metatoken.tokens.vocabulary import Vocabulary

_PLACES = {
    "Interactions": "metatoken.data",
    "LogDataModule": "metatoken.tasks.log_datamodule",
    "MetaTokenModule": "metatoken.model.module",
    "ModelSettings": "metatoken.model.settings",
    "Recommendation": "metatoken.recommend",
    "Recommender": "metatoken.recommend",
    "Split": "metatoken.data",
    "TaskDataModule": "metatoken.tasks.datamodule",
    "Vocabulary": "metatoken.tokens.vocabulary",
    "audit": "metatoken.data",
    "generate_world": "metatoken.data",
    "leave_last_out": "metatoken.data",
    "no_split": "metatoken.data",
    "random_split": "metatoken.data",
}

__all__ = [
    "Interactions",
    "LogDataModule",
    "MetaTokenModule",
    "ModelSettings",
    "Recommendation",
    "Recommender",
    "Split",
    "TaskDataModule",
    "Vocabulary",
    "audit",
    "generate_world",
    "leave_last_out",
    "no_split",
    "random_split",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
