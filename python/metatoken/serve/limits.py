"""What a server takes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from metatoken.errors import ArgumentError


@dataclass(frozen=True)
class Limits:
    """Limits of a server; more is refused with a message that names the limit.

    Attributes:
        body: Bytes of a request.
        k: Items of an answer.
        history: Items of a history.
        listed: Items of `allow` or of `deny`.
        requests: Requests of a batch that a client sends.
        queue: Requests that wait; one more is answered with 503.
        batch: Requests that pass through the model at once.
        wait_ms: How long the first request of a batch waits for others, milliseconds.
        timeout_s: From the arrival of a request to its answer, seconds.
        grace_s: How long a stopping server finishes what it has begun, seconds.
    """

    body: int = 1 << 18
    k: int = 100
    history: int = 1000
    listed: int = 10_000
    requests: int = 64
    queue: int = 256
    batch: int = 32
    wait_ms: float = 2.0
    timeout_s: float = 30.0
    grace_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuses what cannot be meant.

        Raises:
            ArgumentError: A limit is below 1, or a time is negative or zero where something must happen in it.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name not in ("wait_ms", "grace_s")):
                raise ArgumentError(field.name, f"expected a positive limit, got {value}")
        if self.requests > self.queue:
            raise ArgumentError("queue", f"expected room for a batch of {self.requests} requests, got {self.queue}")

    def shown(self) -> dict[str, float]:
        """Those that a client should know."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name in ("body", "k", "history", "listed", "requests")
        }
