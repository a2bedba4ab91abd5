"""Batches of concurrent requests: those that wait together pass through the model together.

All bookkeeping happens in the event loop, so there are no locks; the work itself runs in one thread, because one batch
already uses all cores. A batch begins when it is full, or when its first request has waited long enough; while the
model works the next batch fills by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from metatoken.errors import CoreError, MetatokenError
from metatoken.serve.limits import Limits

Ask = TypeVar("Ask")
Got = TypeVar("Got")


class BusyError(MetatokenError):
    """The queue is full."""


class ClosedError(MetatokenError):
    """The server is stopping."""


@dataclass(frozen=True)
class _Job(Generic[Ask, Got]):
    ask: Ask
    answer: asyncio.Future[Got]
    begun: float  # seconds of the event loop's clock


class Batcher(Generic[Ask, Got]):
    """Collects requests and answers them in batches; an asynchronous context manager.

    Args:
        work: Answers a list of requests, in order; called in one thread.
        limits: Size and waiting time of a batch, length of the queue, time for an answer and for stopping.
        seen: Called with the size of each batch.
    """

    def __init__(
        self,
        work: Callable[[list[Ask]], Sequence[Got]],
        limits: Limits,
        seen: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self.work, self.limits, self.seen = work, limits, seen
        self.closed = True
        self._begun: float | None = None  # when the model took up what it works on
        self._jobs: deque[_Job[Ask, Got]] = deque()

    @property
    def waiting(self) -> int:
        """Requests in the queue, those in the model not counted."""
        return len(self._jobs)

    @property
    def state(self) -> str:
        """`ok`, or `stopping`.

        `broken` where nothing takes requests out of the queue any more; `stuck` where the model has not come back for
        longer than an answer may take.
        """
        if self.closed:
            return "stopping"
        if self._task.done():
            return "broken"
        late = self._begun is not None and time.monotonic() - self._begun > self.limits.timeout_s
        return "stuck" if late else "ok"

    async def __aenter__(self) -> Batcher[Ask, Got]:
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.closed = False
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.closed = True
        self._wake.set()
        await asyncio.wait({self._task}, timeout=self.limits.grace_s)  # raises nothing, however the task has ended
        self._task.cancel()
        for job in self._jobs:
            _fail(job, ClosedError("the server stopped before it came to this request"))
        self._jobs.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def submit(self, asks: Sequence[Ask]) -> list[Got]:
        """Answers to requests, in their order.

        Raises:
            BusyError: The queue has no room for all of them.
            ClosedError: The server is stopping.
            TimeoutError: They took too long.
        """
        if self.state in ("stopping", "broken"):
            raise ClosedError(f"the server is {self.state}")
        if self.waiting + len(asks) > self.limits.queue:
            raise BusyError(f"{self.waiting} requests are waiting already, and {self.limits.queue} may")
        loop = asyncio.get_running_loop()
        jobs = [_Job(ask, loop.create_future(), loop.time()) for ask in asks]
        self._jobs.extend(jobs)
        self._wake.set()
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return list(await asyncio.gather(*(job.answer for job in jobs)))
        finally:
            if not all(job.answer.done() and not job.answer.cancelled() for job in jobs):
                # Nobody listens any more: make room at once.
                for job in jobs:
                    job.answer.cancel()
                self._jobs = deque(job for job in self._jobs if not job.answer.done())

    async def _serve(self) -> None:
        while not (self.closed and not self._jobs):
            if not self._jobs:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._fill()
            batch = [self._jobs.popleft() for _ in range(min(self.limits.batch, len(self._jobs)))]
            if batch:
                self.seen(len(batch))
                await self._answer(batch)
            del batch  # while nothing comes, nothing of what was answered is held

    async def _fill(self) -> None:
        """Waits until a batch is full or its first request has waited long enough."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._jobs[0].begun + self.limits.wait_ms / 1000):
                while self._jobs and len(self._jobs) < self.limits.batch and not self.closed:
                    self._wake.clear()
                    await self._wake.wait()

    async def _answer(self, batch: list[_Job[Ask, Got]]) -> None:
        loop = asyncio.get_running_loop()
        self._begun = time.monotonic()
        try:
            answers = await loop.run_in_executor(self._thread, self.work, [job.ask for job in batch])
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 (of these requests, a panic of native code, too; the server goes on)
            if len(batch) == 1:
                _fail(batch[0], error if isinstance(error, Exception) else CoreError(str(error)))
                return
            # One request must not spoil its neighbours: each gets its own answer or its own error.
            for job in batch:
                await self._answer([job])
            return
        finally:
            self._begun = None
        for job, answer in zip(batch, answers, strict=True):
            if not job.answer.done():
                job.answer.set_result(answer)


def _fail(job: _Job[Ask, Got], error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
