"""Where the shards of a job are made: declared once for every command that has an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metatoken.config import SettingError, Settings, setting
from metatoken.extras import check_extra

Name = Literal["local", "ray"]
PANEL = "The engine"


@dataclass(frozen=True)
class EngineSettings(Settings):
    """Who makes the shards; without influence on a byte of them."""

    engine: Name = setting("local", "local, or ray (Ray Data, the extra `ray`).", group=PANEL)
    workers: int | None = setting(
        None, "Processes of ray, each with a model or codebook of its own; by default one a core.", ge=1, le=4096,
        group=PANEL,
    )  # fmt: skip
    address: str | None = setting(
        None, "Address of a Ray cluster, or auto; by default ray is started here.", group=PANEL
    )

    def check(self) -> None:
        """Refuses what only ray knows for the local engine."""
        for name in ("workers", "address"):
            if self.engine == "local" and getattr(self, name) is not None:
                said = f"goes with --engine ray; the local engine has none (got {getattr(self, name)})"
                raise SettingError((name,), said)


def check_engine(settings: EngineSettings) -> None:
    """Refuses to begin without Ray where it is asked for: `MetatokenError`, with the command that installs it."""
    if settings.engine == "ray":
        check_extra("--engine ray", "ray", ["ray", "pandas"])
