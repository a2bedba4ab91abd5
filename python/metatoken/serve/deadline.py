"""A deadline for headers: a connection that sends half a request is closed, so that it holds nobody's place."""

from __future__ import annotations

from typing import Any


def with_deadline(seconds: float) -> type[Any]:
    """The protocol that uvicorn has chosen for HTTP, with a time in which the headers of a request must be there.

    Args:
        seconds: From the opening of a connection, or the first byte of a further request, to the end of its headers.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    chosen: Any = AutoHTTPProtocol

    class Deadline(chosen):  # type: ignore[misc]
        timer: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.timer = self.loop.call_later(seconds, transport.close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            busy = self.cycle is not None and not self.cycle.response_complete
            if busy and self.timer is not None:
                self.timer.cancel()
                self.timer = None
            elif not busy and self.timer is None:
                self.timer = self.loop.call_later(seconds, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.timer is not None:
                self.timer.cancel()
            super().connection_lost(exc)

    return Deadline
