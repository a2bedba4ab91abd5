"""A PostgreSQL server of our own, started for tests where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

INSTALLED = Path("/usr/lib/postgresql")
PASSWORD = "open sesame ü"  # noqa: S105 (of a server that lives for a test)


def _binary() -> str:
    found = sorted(INSTALLED.glob("*/bin/pg_ctl"))
    binary = str(found[-1]) if found else shutil.which("pg_ctl")
    if binary is None:
        pytest.skip("no PostgreSQL server is installed (Debian's package postgresql)")
    return binary


def _account(folder: Path) -> dict[str, Any]:
    """Whom the server runs as, and the folder his: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        owner = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no account postgres")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    names = [above.name.startswith("pytest-of-") for above in folder.parents]
    for above in folder.parents[: names.index(True) + 1 if True in names else 0]:
        above.chmod(0o755)  # those of the test run, also of one in several processes
    return {"user": owner.pw_uid, "group": owner.pw_gid}


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """A server on a free local port that asks the user `shop` for `PASSWORD`; yields its URI, without the password."""
    pytest.importorskip("adbc_driver_postgresql", reason="needs the extra [sql]")
    binary, account = _binary(), _account(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = folder / "secret"
    secret.write_text(PASSWORD, encoding="utf-8")
    data, quiet = folder / "data", {"stdout": subprocess.DEVNULL, "cwd": folder, **account}
    made = f"-U shop -A scram-sha-256 --pwfile={secret} -E UTF8"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([binary, "initdb", "-D", data, "-o", made], check=True, **quiet)
    subprocess.run([binary, "start", "-w", "-D", data, "-l", folder / "log", "-o", options], check=True, **quiet)
    try:
        yield f"postgresql://shop@127.0.0.1:{port}/postgres"
    finally:
        # It may have left by itself, as it does where its folder has been swept.
        subprocess.run([binary, "stop", "-m", "immediate", "-D", data], check=False, stderr=subprocess.DEVNULL, **quiet)
