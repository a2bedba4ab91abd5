"""`metatoken serve`."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metatoken.cli.options import panel
from metatoken.cli.output import warn
from metatoken.errors import ArgumentError
from metatoken.extras import check_extra

if TYPE_CHECKING:
    import socket

    from metatoken.recommend import Recommender
    from metatoken.serve.limits import Limits
    from metatoken.serve.versions import Versions

limit_option, door_option, version_option = panel("Limits"), panel("Who may ask"), panel("New versions")
AllowHost = Annotated[
    list[str] | None,
    door_option(help="Name under which clients know the server; repeatable. By default those of this machine alone, "
                     "and any where it listens at 0.0.0.0 or ::."),
]  # fmt: skip
TokenFile = Annotated[
    Path | None, door_option(help="File with a token that clients must send as Authorization: Bearer TOKEN.")
]
ShowUsers = Annotated[
    bool,
    door_option("--show-users", help="Let whoever may ask complete user ids and see what a user had. Off by default: "
                                     "both are personal."),
]  # fmt: skip
Reload = Annotated[
    bool,
    version_option("--reload", help="On SIGHUP load what is at RUN by then, and serve it from then on; a run that "
                                    "cannot be loaded is refused, and the old one goes on."),
]  # fmt: skip
ReloadTokenFile = Annotated[
    Path | None,
    version_option(help="File with a token; who sends it may ask for the same by POST /reload, and for a run beside "
                        'RUN by {"run": NAME}.'),
]  # fmt: skip
LOCAL = ("localhost", "127.0.0.1", "::1")
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 (compared with, not listened at)


def serve(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="By default all cores.", show_default=False)
    ] = None,
    batch: Annotated[int, limit_option(min=1, help="Requests that pass through the model at once.")] = 32,
    wait: Annotated[float, limit_option(min=0, help="Milliseconds that a request waits for others.")] = 2.0,
    queue: Annotated[int, limit_option(min=1, help="Requests that may wait; one more gets 503.")] = 256,
    timeout: Annotated[float, limit_option(help="Seconds until an answer.")] = 30.0,
    max_k: Annotated[int, limit_option(min=1, help="Items of an answer.")] = 100,
    max_history: Annotated[int, limit_option(min=1, help="Items of a history.")] = 1000,
    max_requests: Annotated[int, limit_option(min=1, help="Requests in one body.")] = 64,
    max_body: Annotated[int, limit_option(min=1, help="Bytes of a body.")] = 262_144,
    connections: Annotated[int, limit_option(min=1, help="Open connections; one more gets 503.")] = 1000,
    allow_host: AllowHost = None,
    token_file: TokenFile = None,
    show_users: ShowUsers = False,
    reload: Reload = False,
    reload_token_file: ReloadTokenFile = None,
) -> None:
    """Serve recommendations over HTTP, with a page to try them in a browser."""
    check_extra("serving", "serve", ("fastapi", "prometheus_client", "uvicorn"))
    from metatoken.serve.app import create_app
    from metatoken.serve.limits import Limits
    from metatoken.serve.versions import Versions

    asked = {"requests": max_requests, "queue": queue, "batch": batch}
    limits = Limits(max_body, max_k, max_history, wait_ms=wait, timeout_s=timeout, **asked)
    token, hosts = _token("--token-file", token_file), _hosts(host, allow_host or [])
    reload_token = _token("--reload-token-file", reload_token_file)
    if reload:
        _outlive_hangups()
    listener = _listen(host, port)
    _use_threads(threads)
    versions = Versions.of_run(run)
    app = create_app(versions, limits, hosts=hosts, token=token, reload_token=reload_token, people=show_users)
    line = f"serving {run} at {_address(listener, host)} (stop with Ctrl-C){_served(versions.current)}"
    with listener:
        _run(app, limits, connections, listener, line, versions if reload else None)


def _run(
    app: Any, limits: Limits, connections: int, listener: socket.socket, line: str, versions: Versions | None
) -> None:
    """Answers until a signal comes; says the line as soon as it does. SIGHUP exchanges the versions that are given."""
    import asyncio

    import uvicorn

    from metatoken.serve.deadline import with_deadline
    from metatoken.serve.versions import Signals

    config = uvicorn.Config(
        app, log_level="warning", server_header=False, timeout_graceful_shutdown=int(limits.grace_s) + 1,
        access_log=False, limit_concurrency=connections, http=with_deadline(limits.timeout_s),
    )  # fmt: skip

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if versions is not None:
                signals = Signals(versions, partial(print, flush=True), warn)
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, signals.ask)
            print(line, flush=True)  # only now does it answer

    Server(config).run(sockets=[listener])


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _outlive_hangups() -> None:
    """SIGHUP, which ends a program by default, is ignored until there is something to exchange."""
    if not hasattr(signal, "SIGHUP"):
        raise ArgumentError("--reload", "this system has no SIGHUP; use --reload-token-file")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _hosts(host: str, allowed: list[str]) -> tuple[str, ...]:
    """Names under which the server may be asked; none for all."""
    if not host.strip():
        raise ArgumentError("--host", "expected an address, got nothing; 0.0.0.0 lets other machines in")
    return tuple(allowed) if allowed else () if host in ANYWHERE else (*LOCAL, host)


def _token(option: str, file: Path | None) -> str | None:
    if file is None:
        return None
    token = file.read_text(encoding="utf-8").strip()
    if not token or not token.isascii() or len(token.split()) > 1:
        raise ArgumentError(option, f"expected one token of printable ASCII characters in {file}")
    return token


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

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ArgumentError("--port", f"cannot listen at {host}:{port}: {error.strerror or error}") from error
    return listener
