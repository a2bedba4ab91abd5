"""The run that is served: one version at a time, exchanged for another while requests are answered.

A request takes the version that is current when it comes, once, and is answered by it from its ids to its titles,
however long that takes; the next request takes the next version. Nothing waits for an exchange, and nothing but the
requests that took it holds an older version, so its memory is free as soon as the last of them is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from starlette.concurrency import run_in_threadpool

from metatoken.errors import ArgumentError, MetatokenError
from metatoken.recommend.questions import Answered, Question
from metatoken.recommend.requests import Answer, Model, Prepared, Request

if TYPE_CHECKING:
    from metatoken.recommend.recommender import Recommender

FAULT = "the new version could not be loaded; the log of the server says why"
FEW = 3  # items of the history that a new version is tried with


class ReloadingError(MetatokenError):
    """Another version is being loaded already."""


class RefusedError(MetatokenError):
    """A new version cannot be served; the old one is as before."""


@dataclass(frozen=True)
class Job:
    """A request, or a question about a pair, with the version that answers it."""

    recommender: Recommender
    asked: Prepared | Question


class Versions:
    """The current version and how another one is loaded.

    Args:
        recommender: The first one.
        load: Loads a version by the name that was asked for, None for the usual one; called in a thread. Without it,
            nothing else can be loaded.
    """

    def __init__(self, recommender: Recommender, load: Callable[[str | None], Recommender] | None = None) -> None:
        self.current, self.load = recommender, load
        self.exchanged = self.refused = 0
        self._loading = asyncio.Lock()

    @classmethod
    def of_run(cls, run: Path) -> Versions:
        """The run at a place, and whatever is there later, or in a folder beside it that is named.

        Raises:
            MetatokenError: It cannot be loaded or does not answer.
        """

        def load(name: str | None) -> Recommender:
            return tried(beside(run, name))

        return cls(load(None), load)

    async def reload(self, name: str | None = None, *, wait: bool = False) -> str:
        """Loads another version, tries it and makes it the current one; the version that was.

        Args:
            name: Which one, see `load`.
            wait: Begin when the one that is being loaded is there.

        Raises:
            ReloadingError: One is being loaded already, and this one does not wait.
            RefusedError: It cannot be loaded or does not answer; the current one stays.
        """
        if self._loading.locked() and not wait:
            raise ReloadingError("another version is being loaded; ask again when it is there")
        async with self._loading:
            new = await self._loaded(name)
            was, self.current = self.current.version, new
            self.exchanged += 1
            return was

    async def _loaded(self, name: str | None) -> Recommender:
        if self.load is None:
            raise RefusedError("this server was started with a model in memory and knows no other")
        try:
            # Not among the threads that requests need; nothing of the current version is touched.
            return await run_in_threadpool(self.load, name)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of native code, too
            self.refused += 1
            if isinstance(error, MetatokenError | OSError):
                raise RefusedError(str(error)) from error
            logging.getLogger("uvicorn.error").exception("reload")
            raise RefusedError(FAULT) from error


class Signals:
    """Takes up what is there when a signal comes; one that comes while a version is loaded counts afterwards.

    Args:
        versions: What is served.
        say: Gets a line about each version that is taken up.
        warn: Gets one about each that is refused.
    """

    def __init__(self, versions: Versions, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self.versions, self.say, self.warn = versions, say, warn
        self._asked = False
        self.task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """To be called in the event loop; returns at once."""
        self._asked = True
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._asked:
            self._asked = False
            try:
                was = await self.versions.reload(wait=True)
            except RefusedError as error:
                self.warn(f"{error}; version {self.versions.current.version} goes on")
            else:
                self.say(f"serving version {self.versions.current.version}, before {was}")


def beside(run: Path, name: str | None) -> Path:
    """The run, or the folder of that name beside it; `ArgumentError` for a name that leads elsewhere."""
    if name is None:
        return run
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name:
        raise ArgumentError("run", f"expected the name of a folder beside the run that is served, got {name[:100]!r}")
    return run.absolute().parent / name


def tried(run: Path) -> Recommender:
    """A run that has been loaded and has answered a request in each way.

    Raises:
        MetatokenError: It cannot be loaded, cannot recommend, or finds no numbers.
    """
    from metatoken.recommend.recommender import Recommender

    recommender = Recommender.load(run)
    history = recommender.catalogue.items.raw[:FEW]
    recommender.answer([Request(history=history, k=1, model=model, exclude_seen=False) for model in get_args(Model)])
    return recommender


def answer(jobs: list[Job]) -> list[Answer | Answered]:
    """Answers jobs in their order; those of one version and kind pass through its model together."""
    found: dict[int, Answer | Answered] = {}
    groups: dict[tuple[int, bool], list[int]] = {}
    for place, job in enumerate(jobs):
        groups.setdefault((id(job.recommender), isinstance(job.asked, Question)), []).append(place)
    for places in groups.values():
        recommender, asked = jobs[places[0]].recommender, [jobs[place].asked for place in places]
        requests = [one for one in asked if isinstance(one, Prepared)]
        questions = [one for one in asked if isinstance(one, Question)]
        # One of the two is empty.
        answers: list[Answer | Answered] = [*recommender.run(requests), *recommender.ask(questions)]
        found |= dict(zip(places, answers, strict=True))
    return [found[place] for place in range(len(jobs))]
