"""What a server takes on."""

from __future__ import annotations

from dataclasses import dataclass

from metatoken.config import SettingError, Settings, setting


@dataclass(frozen=True)
class Limits(Settings):
    """Limits of a server; more is refused with a message that names the limit."""

    body: int = setting(1 << 18, "Bytes of a request.", ge=1)
    k: int = setting(100, "Items of an answer.", ge=1)
    history: int = setting(1000, "Items of a history.", ge=1)
    listed: int = setting(10_000, "Items of `allow` or of `deny`.", ge=1)
    requests: int = setting(64, "Requests of a batch that a client sends.", ge=1)
    queue: int = setting(256, "Requests that wait; one more is answered with 503.", ge=1)
    batch: int = setting(32, "Requests that pass through the model at once.", ge=1)
    wait_ms: float = setting(2.0, "Milliseconds that the first request of a batch waits for others.", ge=0)
    timeout_s: float = setting(30.0, "Seconds from the arrival of a request to its answer.", gt=0)
    grace_s: float = setting(10.0, "Seconds that a stopping server takes to finish what it has begun.", ge=0)

    def check(self) -> None:
        """Refuse a queue that cannot hold the largest batch."""
        if self.requests > self.queue:
            raise SettingError(("queue",), f"expected room for a batch of {self.requests} requests, got {self.queue}")

    def shown(self) -> dict[str, float]:
        """Those that a client should know."""
        return {name: getattr(self, name) for name in ("body", "k", "history", "listed", "requests")}
