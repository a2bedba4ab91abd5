"""The model card of an export: front matter that the Hugging Face hub reads, in front of words for people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.model.backbone.pretrained import OBJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from huggingface_hub import EvalResult

TAGS = ("recommendation", "recommender-system", "semantic-ids", "metatoken")
SHOWN = ("hr@10", "ndcg@10")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Finding:
    """What an evaluation found of the lists that an export gives.

    Attributes:
        log: Name of the log.
        split: How items were held out.
        users: How many were judged.
        metrics: Of the lists.
        baseline: Name of the best baseline.
        theirs: Its metrics.
    """

    log: str
    split: str
    users: int
    metrics: Mapping[str, float]
    baseline: str
    theirs: Mapping[str, float]

    def sentence(self) -> str:
        """The finding for a person."""
        own, other = (", ".join(f"{n.upper()} {m[n]:.4f}" for n in SHOWN) for m in (self.metrics, self.theirs))
        return (
            f"On {self.log} ({self.split}, {self.users:,} users, all items ranked): {own}. The best baseline, "
            f"`{self.baseline}`: {other}. The lists are those that `recommend.py` gives."
        )


def model_card(text: str, backbone: str, finding: Finding | None = None) -> str:
    """A model card.

    Args:
        text: Markdown for people.
        backbone: What the model was made from; named in the front matter where it is a name of the hub.
        finding: How good it is, if that is known.
    """
    from huggingface_hub import ModelCardData

    known = HUB_NAME.fullmatch(backbone) and not Path(backbone).exists()
    data = ModelCardData(
        library_name="transformers", tags=list(TAGS), base_model=backbone if known else None,
        model_name=f"{called(backbone)} with tokens for items", eval_results=_results(finding),
    )  # fmt: skip
    if finding is not None:
        text = f"{text.rstrip()}\n\n## How good it is\n\n{finding.sentence()}\n"
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def called(backbone: str) -> str:
    """What people call a backbone: the last part of its name, or the class of an object."""
    return Path(backbone.removeprefix(OBJECT)).name


def _results(finding: Finding | None) -> list[EvalResult] | None:
    from huggingface_hub import EvalResult

    if finding is None:
        return None
    return [
        EvalResult(
            task_type="recommendation", dataset_type="interactions", dataset_name=finding.log,
            dataset_split=finding.split, metric_type=name, metric_value=round(finding.metrics[name], 6),
        )
        for name in SHOWN
    ]  # fmt: skip
