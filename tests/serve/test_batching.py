from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

import pytest

from metatoken.serve.batching import Batcher, BusyError, ClosedError
from metatoken.serve.limits import Limits


class Work:
    """Doubles numbers, remembers its batches, and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.begun = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def __call__(self, asks: list[int]) -> Sequence[int]:
        self.batches.append(asks)
        self.threads.add(threading.get_ident())
        self.begun.set()
        assert self.free.wait(10)
        if -1 in asks:
            raise ValueError("minus one")
        return [2 * ask for ask in asks]


def run(
    job: Callable[[Batcher[int, int], Work], Awaitable[Any]],
    seen: Callable[[int], None] = lambda _size: None,
    **settings: Any,
) -> Work:
    work = Work()
    limits = Limits(**{"requests": 1, "batch": 4, "wait_ms": 50, "queue": 10, "timeout_s": 10, "grace_s": 5} | settings)

    async def main() -> None:
        async with Batcher(work, limits, seen) as batcher:
            await job(batcher, work)

    asyncio.run(main())
    return work


async def hold(batcher: Batcher[int, int], work: Work) -> asyncio.Task[list[int]]:
    """Lets one request occupy the model."""
    work.free.clear()
    work.begun.clear()
    task = asyncio.create_task(batcher.submit([100]))
    while not work.begun.is_set():  # noqa: ASYNC110 (set by another thread)
        await asyncio.sleep(0.001)
    return task


def test_concurrent_requests_share_batches_and_get_their_own_answers() -> None:
    sizes: list[int] = []

    async def job(batcher: Batcher[int, int], _work: Work) -> None:
        answers = await asyncio.gather(*(batcher.submit([n]) for n in range(10)))
        assert answers == [[2 * n] for n in range(10)]

    work = run(job, seen=sizes.append)
    assert [len(batch) for batch in work.batches] == [4, 4, 2] == sizes
    assert sorted(chain(*work.batches)) == list(range(10))
    assert len(work.threads) == 1
    assert threading.get_ident() not in work.threads


def test_a_list_is_answered_in_its_order_though_it_is_cut() -> None:
    async def job(batcher: Batcher[int, int], _work: Work) -> None:
        assert await batcher.submit(list(range(9))) == [2 * n for n in range(9)]
        assert await batcher.submit([]) == []

    assert [len(batch) for batch in run(job).batches] == [4, 4, 1]


def test_a_request_alone_waits_no_longer_than_it_is_told() -> None:
    async def job(batcher: Batcher[int, int], _work: Work) -> None:
        started = time.monotonic()
        await batcher.submit([1])
        assert 0.05 <= time.monotonic() - started < 5

    run(job)

    async def at_once(batcher: Batcher[int, int], _work: Work) -> None:
        await asyncio.gather(*(batcher.submit([n]) for n in range(4)))

    started = time.monotonic()
    assert len(run(at_once, wait_ms=60_000).batches) == 1  # full, so it does not wait
    assert time.monotonic() - started < 30


def test_what_does_not_fit_is_refused_whole_and_later_taken() -> None:
    async def job(batcher: Batcher[int, int], work: Work) -> None:
        first = await hold(batcher, work)
        second = asyncio.create_task(batcher.submit(list(range(8))))
        await asyncio.sleep(0)
        assert batcher.waiting == 8
        with pytest.raises(BusyError, match="8 requests are waiting"):
            await batcher.submit([1, 2, 3])
        assert batcher.waiting == 8
        work.free.set()
        assert await first == [200]
        assert await second == [2 * n for n in range(8)]
        assert await batcher.submit([1, 2, 3]) == [2, 4, 6]

    run(job)


def test_who_waits_too_long_is_told_and_makes_room() -> None:
    async def job(batcher: Batcher[int, int], work: Work) -> None:
        first = await hold(batcher, work)
        with pytest.raises(TimeoutError):
            await batcher.submit([1, 2])
        assert batcher.waiting == 0
        with pytest.raises(TimeoutError):
            await first
        work.free.set()
        assert await batcher.submit([3]) == [6]

    assert run(job, timeout_s=0.3).batches == [[100], [3]]


def test_who_goes_away_makes_room() -> None:
    async def job(batcher: Batcher[int, int], work: Work) -> None:
        first = await hold(batcher, work)
        gone = asyncio.create_task(batcher.submit([1, 2]))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert batcher.waiting == 0
        work.free.set()
        await first

    assert run(job).batches == [[100]]


def test_one_that_fails_does_not_spoil_its_neighbours() -> None:
    async def job(batcher: Batcher[int, int], _work: Work) -> None:
        found = await asyncio.gather(*(batcher.submit([n]) for n in (1, -1, 2)), return_exceptions=True)
        assert found[0] == [2]
        assert isinstance(found[1], ValueError)
        assert found[2] == [4]
        assert await batcher.submit([5]) == [10]

    assert run(job).batches == [[1, -1, 2], [1], [-1], [2], [5]]


def test_closing_finishes_what_waits_and_takes_nothing_new() -> None:
    work = Work()

    async def main() -> None:
        batcher = Batcher(work, Limits(requests=1, batch=2, wait_ms=60_000, queue=10, timeout_s=10))
        with pytest.raises(ClosedError):
            await batcher.submit([1])
        async with batcher:
            tasks = [asyncio.create_task(batcher.submit([n])) for n in range(5)]
            await asyncio.sleep(0)
        assert [await task for task in tasks] == [[2 * n] for n in range(5)]
        with pytest.raises(ClosedError):
            await batcher.submit([1])

    asyncio.run(main())


def test_closing_gives_up_after_the_grace() -> None:
    work = Work()

    async def main() -> list[Any]:
        limits = Limits(requests=1, batch=1, wait_ms=0, queue=10, timeout_s=10, grace_s=0.05)
        async with Batcher(work, limits) as batcher:
            first = await hold(batcher, work)
            second = asyncio.create_task(batcher.submit([2]))
            await asyncio.sleep(0)
        work.free.set()
        with pytest.raises(ClosedError):
            await second
        first.cancel()
        return work.batches

    assert asyncio.run(main()) == [[100]]
