"""How a run is scored."""

from __future__ import annotations

from dataclasses import dataclass, field

from metatoken.config import Settings, setting
from metatoken.decode.settings import TextOptions


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """Settings of evaluation, for ranking tasks and for those whose answer is a rating or a text."""

    width: int = setting(20, "Beams.", ge=1, le=10_000)
    batch_size: int = setting(256, "Prompts in a batch.", ge=1)
    users: int | None = setting(
        None, "Held-out users who are scored, at most, drawn once for all seeds; none scores all.", ge=1, size=False
    )
    fusion_users: int = setting(
        20_000, "Validation users that the fusion weights are chosen on, at most.", ge=1, size=False
    )
    texts: int = setting(500, "Held-out texts that are written for a question, at most.", ge=1, size=False)
    writing: TextOptions = field(default_factory=TextOptions)
