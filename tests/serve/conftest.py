from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from metatoken.recommend import Recommender
from metatoken.serve.app import create_app
from metatoken.serve.limits import Limits
from tests.conftest import TrainedRun

LIMITS = Limits(body=20_000, k=40, history=30, listed=50, requests=8, queue=16, batch=4, wait_ms=5.0, timeout_s=20.0)


@pytest.fixture(scope="package")
def recommender(trained_run: TrainedRun) -> Recommender:
    run = trained_run.run
    return Recommender(run.module, run.split.log, run.fusion, run.catalogue)


@pytest.fixture
def client(recommender: Recommender) -> Iterator[TestClient]:
    with TestClient(create_app(recommender, LIMITS), raise_server_exceptions=False) as client:
        yield client
