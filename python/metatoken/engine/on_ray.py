"""Units of a stage by Ray Data: one row a unit, `map_batches` over workers, each with what it needs loaded once.

What flows through Ray is the number of a unit and whether it went well. Its rows are read from a file by the worker
that makes it, and are written by it: the object store of Ray holds nothing that a lost worker could take along, a unit
can be made again by anybody, and a job can be gone on with after Ray itself has ended.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metatoken import errors
from metatoken.engine.settings import EngineSettings, check_engine
from metatoken.errors import EngineError, MetatokenError, MetatokenWarning

if TYPE_CHECKING:
    from metatoken.engine.stage import Stage

STORE = 80 << 20  # bytes of the object store of a Ray that is started here: numbers of units are all that it holds
# Ray prints on its own, and calls home, unless told otherwise before it is started.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
ANSWERS = 10  # seconds within which a cluster takes a connection
LOGGERS = ("ray", "ray.data", "ray._private")


class Actor:
    """A worker that stays for as long as a stage takes, for those that load much."""

    def __call__(self, batch: dict[str, Any], stage: Stage) -> dict[str, Any]:
        """See `make_units`."""
        return make_units(batch, stage)


_open: dict[Stage, Callable[[int], None]] = {}  # the stage that this process works at


def make_units(batch: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """Makes the units of a batch; errors and warnings are results, since Ray would wrap or swallow them.

    Args:
        batch: Numbers of units, int64 `[n]` under `unit`.
        stage: What is to be done.

    Returns:
        The units, for each the error as JSON or "", and the warnings as JSON.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", MetatokenWarning)
        failed = [_failed(int(unit), stage) for unit in batch["unit"]]
    ours = [str(one.message) for one in said if issubclass(one.category, MetatokenWarning)]
    return {"unit": batch["unit"], "failed": failed, "warned": [json.dumps(ours)] * len(failed)}


def _failed(unit: int, stage: Stage) -> str:
    try:
        if stage not in _open:
            _open.clear()
            _open[stage] = stage.worker()
        _open[stage](unit)
    except Exception as error:  # noqa: BLE001 (told to the process that has asked)
        return json.dumps([type(error).__name__, str(error)])
    return ""


def ray_units(stage: Stage, units: list[int], workers: int | None, address: str | None) -> Iterator[int]:
    """Makes units, and yields each when it is made, in any order.

    Args:
        stage: What is to be done.
        units: Numbers of the units.
        workers: How many work at a time; by default as many as there are cores.
        address: Of a cluster; by default Ray is started here, unless it has been already.

    Raises:
        MetatokenError: See `run_stage`.
    """
    check_engine(EngineSettings(engine="ray"))
    threads = stage.threads or 1
    with started(workers, threads, address) as cores:
        size = min(workers or max(1, cores // threads), len(units))
        for row in _rows(stage, units, size, threads):
            if row["failed"]:
                raise _error(row["unit"], *json.loads(row["failed"]))
            for said in json.loads(row["warned"]):
                warnings.warn(said, MetatokenWarning, stacklevel=2)
            yield int(row["unit"])


def _rows(stage: Stage, units: list[int], size: int, threads: int) -> Iterator[dict[str, Any]]:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    actors = ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2)
    made = ray.data.from_items([{"unit": unit} for unit in units], override_num_blocks=len(units)).map_batches(
        Actor if stage.loads_much else make_units,
        fn_kwargs={"stage": stage},
        batch_size=1,
        num_cpus=threads,
        compute=actors if stage.loads_much else ray.data.TaskPoolStrategy(size=size),
    )
    try:
        yield from made.iter_rows()
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(f"Ray could not finish the job ({reason[-1][:300]}); the same command goes on") from error


@contextmanager
def started(workers: int | None, threads: int, address: str | None) -> Iterator[int]:
    """Ray, started here or joined, for as long as it is needed; one that runs in this process already is left running.

    Yields:
        Cores that it has.
    """
    if address is not None:
        _check_address(address)
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    import ray
    import ray.data

    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    ours = not ray.is_initialized()
    if ours:
        wanted = None if workers is None else workers * threads
        with _signals_kept():
            try:
                ray.init(**_options(wanted, address))
            except Exception as error:
                raise EngineError(_refused(address, error)) from error
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        if ours:
            ray.shutdown()


def _options(cores: int | None, address: str | None) -> dict[str, Any]:
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if address is not None:
        return quiet | {"address": address}
    local = {"address": "local", "object_store_memory": STORE, "include_dashboard": False}
    return quiet | local | ({} if cores is None else {"num_cpus": cores})


def _check_address(address: str) -> None:
    """Refuses a place where nobody listens, which Ray would try for minutes: `EngineError`."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):  # such as auto: Ray knows where
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise EngineError(_refused(address, error)) from error


def _refused(address: str | None, error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    if address is not None:
        return f"no Ray cluster answers at {address} ({said}); check --address, and that it runs this version of Ray"
    return f"Ray could not be started here ({said}); a busy machine may need a second try"


def _error(unit: int, name: str, said: str) -> MetatokenError:
    """The error of a worker as it would be in this process."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, MetatokenError):
        error = kind.__new__(kind)
        Exception.__init__(error, said)
        return error
    return EngineError(f"shard {unit}: a worker failed with {name}: {' '.join(said.split())[:300]}")


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Puts back the handlers of signals that Ray replaces with its own when it is started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
