"""`metatoken serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metatoken.cli.options import panel

if TYPE_CHECKING:
    import socket

    from metatoken.recommend import Recommender

limit_option = panel("Limits")


def serve(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    threads: Annotated[int | None, typer.Option(min=1, help="By default all cores.", show_default=False)] = None,
    batch: Annotated[int, limit_option(min=1, help="Requests that pass through the model at once.")] = 32,
    wait: Annotated[float, limit_option(min=0, help="Milliseconds that a request waits for others.")] = 2.0,
    queue: Annotated[int, limit_option(min=1, help="Requests that may wait; one more gets 503.")] = 256,
    timeout: Annotated[float, limit_option(help="Seconds until an answer.")] = 30.0,
    max_k: Annotated[int, limit_option(min=1, help="Items of an answer.")] = 100,
    max_history: Annotated[int, limit_option(min=1, help="Items of a history.")] = 1000,
    max_requests: Annotated[int, limit_option(min=1, help="Requests in one body.")] = 64,
    max_body: Annotated[int, limit_option(min=1, help="Bytes of a body.")] = 262_144,
) -> None:
    """Serves recommendations over HTTP, with a page to try them in a browser."""
    _check_extra()
    import uvicorn

    from metatoken.recommend import Recommender
    from metatoken.serve.app import create_app
    from metatoken.serve.limits import Limits

    asked = {"requests": max_requests, "queue": queue, "batch": batch}
    limits = Limits(max_body, max_k, max_history, wait_ms=wait, timeout_s=timeout, **asked)
    listener = _listen(host, port)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    recommender = Recommender.load(run)
    app, grace = create_app(recommender, limits), int(limits.grace_s) + 1
    config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=grace)
    line = f"serving {run} at {_address(listener, host)} (stop with Ctrl-C){_served(recommender)}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(line, flush=True)  # only now does it answer

    with listener:
        Server(config).run(sockets=[listener])


def _check_extra() -> None:
    from importlib.util import find_spec

    from metatoken.errors import MetatokenError

    if absent := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise MetatokenError(f"serving needs {' and '.join(absent)}: pip install 'metatoken[serve]'")


def _address(listener: socket.socket, host: str) -> str:
    where = f"[{host}]" if ":" in host else host
    return "http:" + f"//{where}:{listener.getsockname()[1]}"


def _served(recommender: Recommender) -> str:
    """What the first line adds, and a warning, where the model does not count."""
    recommender.fusion.warn()
    return "; fused lists are the transition graph alone" if recommender.fusion.idle else ""


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port that is taken is known before the model is loaded."""
    import socket

    from metatoken.errors import ArgumentError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ArgumentError("--port", f"cannot listen at {host}:{port}: {error.strerror or error}") from error
    return listener
