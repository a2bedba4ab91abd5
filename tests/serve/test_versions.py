"""A server takes up another run: no request is lost, no answer is of two versions, no old one stays in memory."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from starlette.testclient import TestClient

from metatoken.data import Catalogue
from metatoken.errors import ArgumentError, ArtifactError, UnknownIdError
from metatoken.recommend import Recommender
from metatoken.run.folder import RunFolder
from metatoken.run.manifest import version_of
from metatoken.serve.app import create_app
from metatoken.serve.versions import RefusedError, Signals, Versions, beside, tried
from tests.conftest import TrainedRun
from tests.files import reseal
from tests.serve.conftest import LIMITS

ADMIN = {"authorization": "Bearer admin"}
Make = Callable[[str], Recommender]


@pytest.fixture
def make(trained_run: TrainedRun) -> Make:
    """A version whose every title names it."""
    run = trained_run.run

    def made(name: str, kind: type[Recommender] = Recommender) -> Recommender:
        log = run.split.log
        table = pl.DataFrame({"item": range(log.n_items), "title": [f"{name} {raw}" for raw in log.items.raw]})
        catalogue = Catalogue.of(replace(log, item_table=table.with_columns(pl.col("item").cast(pl.Int32))))
        return kind(run.module, run.split.log, run.fusion, catalogue, name)

    return made


@contextmanager
def served(versions: Versions, **limits: Any) -> Iterator[TestClient]:
    app = create_app(versions, replace(LIMITS, **limits), reload_token="admin")  # noqa: S106 (of a test)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def of_one_version(answer: dict[str, Any]) -> str:
    """The version of an answer, every title of which must be of it."""
    version = answer["version"]
    for one in answer.get("results", [answer]):
        assert one["items"], answer
        assert {item["title"].split()[0] for item in one["items"]} == {version}
    return str(version)


def test_sixteen_clients_and_ten_reloads(make: Make) -> None:
    names = iter(range(1, 11))
    versions = Versions(make("v0"), lambda _: make(f"v{next(names)}"))
    alive = [weakref.ref(versions.current)]
    several = {"requests": [{"history": [], "k": 3}] * 7}  # two passes through the model, and more
    stop, seen = threading.Event(), []

    def ask(client: TestClient, place: int) -> None:
        while not stop.is_set():
            body = several if place % 2 else {"history": [], "k": 5, "model": "item_head"}
            response = client.post("/recommend", json=body)
            assert response.status_code == 200, response.text
            seen.append(of_one_version(response.json()))
            assert response.headers["metatoken-version"] == seen[-1]

    with served(versions, queue=200) as client, ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(ask, client, place) for place in range(16)]
        for number in range(1, 11):
            before = len(seen)
            while len(seen) < before + 8 and not any(one.done() for one in asking):
                stop.wait(0.005)
            answer = client.post("/reload", headers=ADMIN)
            assert answer.json() == {"version": f"v{number}", "was": f"v{number - 1}"}
            alive.append(weakref.ref(versions.current))
        stop.set()
        for one in asking:
            one.result(60)
        assert client.get("/health").json()["version"] == "v10"
        assert 'metatoken_reloads_total{result="done"} 10.0' in client.get("/metrics").text
        assert len(set(seen)) > 5  # they did ask all the while
        assert [ref() for ref in alive[:-1]] == [None] * 10
        assert alive[-1]() is versions.current


class Held(Recommender):
    """A version that answers when it is let."""

    begun, free = threading.Event(), threading.Event()

    def run(self, prepared: Any) -> Any:
        self.begun.set()
        assert self.free.wait(30)
        return super().run(prepared)


def test_what_a_version_has_begun_it_ends_and_then_it_goes(make: Any) -> None:
    Held.begun.clear()
    Held.free.clear()
    versions = Versions(make("old", Held), lambda _: make("new"))
    old = weakref.ref(versions.current)
    gc.disable()  # what is freed is freed by itself
    try:
        with served(versions, batch=2, wait_ms=0.0) as client, ThreadPoolExecutor(2) as pool:
            first = pool.submit(client.post, "/recommend", json={"requests": [{"history": []}] * 5})
            assert Held.begun.wait(30)  # two of five are in the model, three wait
            assert client.post("/reload", headers=ADMIN).json()["version"] == "new"
            second = pool.submit(client.post, "/recommend", json={"history": []})
            assert client.get("/items?q=p0").json()["version"] == "new"
            assert old() is not None
            Held.free.set()
            assert of_one_version(first.result(30).json()) == "old"
            assert of_one_version(second.result(30).json()) == "new"
            deadline = time.monotonic() + 10  # the server lets go a moment after the answer has left
            while old() is not None and time.monotonic() < deadline:
                time.sleep(0.01)
            assert old() is None
    finally:
        gc.enable()


def test_errors_name_the_version_that_made_them(make: Make) -> None:
    with served(Versions(make("v1"))) as client:
        for body, code in (({"user": "nobody"}, "unknown_user"), ({"history": [], "where": "x = 1"}, "invalid_filter")):
            refused = client.post("/recommend", json=body)
            assert refused.json()["error"]["code"] == code
            assert refused.headers["metatoken-version"] == "v1"
        mixed = client.post("/recommend", json={"requests": [{"history": []}, {"user": "nobody"}]}).json()
        assert mixed["version"] == "v1"
        refused = client.post("/reload", headers=ADMIN)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "reload_refused")


class PanicException(BaseException):
    """As a panic of native code reaches Python."""


BROKEN = [ArtifactError("run2: altered"), OSError("disk"), RuntimeError("secret"), ValueError, PanicException("secret")]


@pytest.mark.parametrize("error", BROKEN)
def test_a_broken_version_is_refused_and_the_old_one_goes_on(make: Make, error: BaseException) -> None:
    def load(_name: str | None) -> Recommender:
        raise error

    versions = Versions(make("v1"), load)
    old = versions.current
    with served(versions) as client:
        refused = client.post("/reload", headers=ADMIN)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "reload_refused")
        assert "secret" not in refused.text
        assert ("run2: altered" in refused.text) == isinstance(error, ArtifactError)
        assert of_one_version(client.post("/recommend", json={"history": []}).json()) == "v1"
        assert 'metatoken_reloads_total{result="refused"} 1.0' in client.get("/metrics").text
    assert versions.current is old


def test_two_at_once(make: Make) -> None:
    free, begun = threading.Event(), threading.Event()

    def load(_name: str | None) -> Recommender:
        begun.set()
        assert free.wait(30)
        return make("v2")

    with served(Versions(make("v1"), load)) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/reload", headers=ADMIN)
        assert begun.wait(30)
        second = client.post("/reload", headers=ADMIN)
        assert (second.status_code, second.json()["error"]["code"]) == (409, "reloading")
        assert of_one_version(client.post("/recommend", json={"history": []}).json()) == "v1"
        free.set()
        assert first.result(30).json() == {"version": "v2", "was": "v1"}
        assert client.post("/reload", headers=ADMIN).status_code == 200


def test_who_may_reload(make: Make) -> None:
    def app(**tokens: str) -> TestClient:
        return TestClient(create_app(Versions(make("v1"), lambda _: make("v2")), LIMITS, **tokens))

    with app() as client:  # off by default
        assert client.post("/reload").status_code == 404
        assert client.post("/reload", headers=ADMIN).status_code == 404
    with app(token="guest", reload_token="admin") as client:  # noqa: S106
        for headers in ({}, {"authorization": "Bearer guest"}, {"authorization": "admin"}):
            assert client.post("/reload", headers=headers).status_code == 401
        assert client.post("/recommend", json={"history": []}, headers=ADMIN).status_code == 401
        assert client.get("/reload", headers=ADMIN).status_code == 405
        for body in (b"[]", b'{"path": "x"}', b'{"run": ""}', b'{"run": 3}'):
            refused = client.post("/reload", content=body, headers=ADMIN | {"content-type": "application/json"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
        refused = client.post("/reload", content=b"{", headers=ADMIN | {"content-type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_json")
        assert client.post("/reload", content=b'{"run": "x"}', headers=ADMIN).status_code == 415
        assert client.get("/health").json()["version"] == "v1"
        assert client.post("/reload", headers=ADMIN).json()["version"] == "v2"
    with app(reload_token="admin") as client:  # noqa: S106
        assert client.post("/recommend", json={"history": []}).status_code == 200
        assert client.post("/reload").status_code == 401


def test_signals_are_never_lost(make: Make) -> None:
    """One that comes while a version is loaded is answered by another loading; several of them by one."""
    loaded, free = [], threading.Event()

    def load(_name: str | None) -> Recommender:
        loaded.append(len(loaded))
        assert free.wait(30)
        if len(loaded) == 2:
            raise UnknownIdError("run", "odd", "none")
        return make(f"v{len(loaded)}")

    said: list[str] = []

    async def main() -> None:
        versions = Versions(make("v0"), load)
        signals = Signals(versions, said.append, said.append)
        signals.ask()
        while not loaded:  # noqa: ASYNC110 (set by another thread)
            await asyncio.sleep(0.001)
        for _ in range(3):
            signals.ask()
        free.set()
        with pytest.raises(RefusedError):
            await versions.reload(wait=True)
        assert signals.task is not None
        await signals.task

    asyncio.run(main())
    assert loaded == [0, 1, 2]
    assert said == ["serving version v1, before v0", "serving version v3, before v1"]


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "today"
    assert beside(run, None) == run
    assert beside(run, "tomorrow") == tmp_path / "runs" / "tomorrow"
    for name in ("", ".", "..", "../x", "a/b", "/etc", "a\\b", "x/"):
        with pytest.raises(ArgumentError, match="run: expected the name of a folder beside"):
            beside(run, name)


def test_folders_are_loaded_tried_and_named(trained_run: TrainedRun, tmp_path: Path) -> None:
    for name in ("first", "second", "torn"):
        shutil.copytree(trained_run.run.folder, tmp_path / name)
    about = RunFolder(tmp_path / "second").source
    about.write_text(about.read_text() + "\n")
    reseal(tmp_path / "second")
    weights = next((tmp_path / "torn" / "model").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    versions = Versions.of_run(tmp_path / "first")
    names = [version_of(RunFolder(tmp_path / name)) for name in ("first", "second")]
    assert names[0] != names[1]
    assert versions.current.version == names[0]

    async def main() -> None:
        assert await versions.reload("second") == names[0]
        assert versions.current.version == names[1]
        for name, said in (
            ("torn", "altered or damaged"),
            ("none", "is not a run folder"),
            ("..", "expected the name"),
        ):
            with pytest.raises(RefusedError, match=said):
                await versions.reload(name)
        assert versions.current.version == names[1]
        (tmp_path / "first").rename(tmp_path / "third")
        (tmp_path / "second").rename(tmp_path / "first")
        await versions.reload()
        assert versions.current.version == names[1]

    asyncio.run(main())


def test_a_model_without_numbers_is_refused(
    make: Make, trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, broken = trained_run.run, deepcopy(trained_run.run.module)
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(float("nan"))
    bad = Recommender(broken, run.split.log, run.fusion, run.catalogue, "bad")
    monkeypatch.setattr(Recommender, "load", classmethod(lambda _cls, _run: bad))
    with pytest.raises(ArgumentError, match="NaN score; the model may have diverged"):
        tried(Path("run"))
    monkeypatch.setattr(Recommender, "load", classmethod(lambda _cls, _run: make("good")))
    assert tried(Path("run")).version == "good"
