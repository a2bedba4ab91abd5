"""Fixtures shared by every test: one small generated world, its split, its vocabulary, and models over it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

# Libraries read these when they are imported, and child processes inherit them. Models here are tiny and workers share
# the cores: more threads would only wait for each other. The native core keeps two, so that they can race.
os.environ.update(OMP_NUM_THREADS="1", POLARS_MAX_THREADS="1", RAYON_NUM_THREADS="2")
os.environ["HF_HUB_OFFLINE"] = "1"  # a name that is no local folder fails at once instead of after several tries

from metatoken.cli.starting import starting
from tests.files import write_run_config

# A loaded machine is slow, not wrong: no example is timed. The same examples each time decide what lands; to look for
# others, HYPOTHESIS_PROFILE=search.
settings.register_profile("metatoken", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "metatoken"))

# A background job of a shell ignores Ctrl-C, and so would the processes that are to be stopped by it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports the modules without a search for garbage, which was a third of the processor time that it took."""
    with starting():
        return (yield)


# Files of few tests that take long. They are begun first, so that no worker waits for another at the end.
LONG = (
    "faults/test_campaign.py", "test_docs.py", "test_tutorials.py", "engine/test_ray.py", "run/test_best.py",
    "run/test_trainer.py", "tokens/test_interrupt.py", "model/test_row_updates.py", "cli/test_serve.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first, then those of many tests; two workers take them in this order."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONG)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (place.get(item.path, len(LONG)), -tests[item.path]))


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


class TrainedRun(NamedTuple):
    """What the fixture `trained_run` made; to be read only."""

    yaml: Path  # the configuration file
    run: Any  # metatoken.run.train.Run
    metrics: dict[str, Any]  # the content of metrics.json


SMALL = {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.1, "positions": 160}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real datasets; tests that need it are skipped where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real datasets are not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a PostgreSQL server of our own, whose password is in the environment; skipped where there is none."""
    from tests.postgresql import PASSWORD, running_server

    with pytest.MonkeyPatch.context() as patch, running_server(tmp_path_factory.mktemp("server")) as uri:
        patch.setenv("PGPASSWORD", PASSWORD)
        yield uri


@pytest.fixture(scope="session")
def ray_here() -> Iterator[Any]:
    """Ray with two cores, started once for all tests of a process; skipped where it is not installed."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from metatoken.engine.on_ray import started

    with started(workers=2, threads=1, address=None):
        yield ray


@pytest.fixture(scope="session")
def world() -> Any:
    """A generated world of 200 users and 100 items."""
    from metatoken.data import generate_world

    return generate_world(n_users=200, n_items=100, seed=0)


@pytest.fixture(scope="session")
def split(world: Any) -> Any:
    """Leave-last-one-out split of the world."""
    from metatoken.data import leave_last_out

    return leave_last_out(world.interactions())


@pytest.fixture(scope="session")
def vocabularies(split: Any) -> dict[int, Any]:
    """Vocabularies of the world by depth."""
    from metatoken import Vocabulary

    options = {"dim": 16, "walks_per_node": 4, "walk_length": 20, "seed": 0}
    return {
        2: Vocabulary.fit(split.train, levels=[16, 16], **options),
        3: Vocabulary.fit(split.train, levels=[8, 8, 8], **options),
    }


@pytest.fixture(scope="session")
def vocabulary(vocabularies: dict[int, Any]) -> Any:
    """The two-level vocabulary."""
    return vocabularies[2]


@pytest.fixture
def make_module(vocabulary: Any) -> Callable[..., Any]:
    """Builds a small untrained module over the world; keyword arguments are fields of `ModelSettings`."""
    from metatoken import MetaTokenModule

    def make(vocabulary: Any = vocabulary, **fields: Any) -> Any:
        backbone = fields.get("backbone", "gpt2-preset")
        if backbone.endswith("-preset"):
            fields.setdefault("preset", SMALL)
        return MetaTokenModule(vocabulary, **({"max_history": 20} | fields)).eval()

    return make


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A run of one epoch over a generated world of 80 users and 60 items, evaluated on test."""
    from metatoken.run import evaluate_run, train_run
    from metatoken.run.config import load_config

    folder = tmp_path_factory.mktemp("trained")
    yaml = write_run_config(folder)
    run = train_run(load_config(yaml), folder / "run", say=lambda _: None)
    return TrainedRun(yaml, run, evaluate_run(run))


@pytest.fixture(scope="session")
def answering_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Such a run with rating and text tasks beside the sequential one."""
    from metatoken.run import evaluate_run, train_run
    from metatoken.run.config import load_config

    folder = tmp_path_factory.mktemp("answering")
    columns = {name: name for name in ("rating", "review", "summary", "explanation")}
    model = {"tasks": ["sequential", "rating", "explanation", "review_summary", "review_rating"], "max_text": 24}
    yaml = write_run_config(folder, data=columns, model=model, evaluate={"texts": 12})
    run = train_run(load_config(yaml), folder / "run", say=lambda _: None)
    return TrainedRun(yaml, run, evaluate_run(run))
