"""What a server counts, in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from metatoken.serve.versions import Versions

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What a server counts, in a registry of its own.

    Attributes:
        batches: Requests that passed through the model at once.
        running: Requests that are being answered.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a series for each series, with the time it began
        self._registry = here = CollectorRegistry()
        labels = ("method", "path", "status")
        self._requests = Counter("metatoken_requests", "Requests by method, path and status.", labels, registry=here)
        self._errors = Counter(
            "metatoken_errors", "Errors by code, those inside a batch included.", ("code",), registry=here
        )
        self._seconds = Histogram(
            "metatoken_request_seconds", "Seconds from a request to the end of its answer.", ("path",),
            buckets=SECONDS, registry=here,
        )  # fmt: skip
        self.batches = Histogram(
            "metatoken_batch_size", "Requests that passed through the model at once.", buckets=SIZES, registry=here
        )
        self.running = Gauge("metatoken_requests_running", "Requests that are being answered.", registry=here)
        ProcessCollector(registry=here)

    def watch(self, waiting: Callable[[], int], versions: Versions) -> None:
        """Asks, each time that metrics are shown, how many requests wait for the model and what is served."""
        self._registry.register(_State(waiting, versions))

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Counts an answered request; `path` must be one of few."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def error(self, code: str) -> None:
        """Counts an error."""
        self._errors.labels(code).inc()

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _State(Collector):
    """What is known elsewhere in the server."""

    def __init__(self, waiting: Callable[[], int], versions: Versions) -> None:
        self.waiting, self.versions = waiting, versions

    def collect(self) -> Iterator[Metric]:
        said = "Versions that were taken up, and that were refused."
        reloads = CounterMetricFamily("metatoken_reloads", said, labels=["result"])
        reloads.add_metric(["done"], self.versions.exchanged)
        reloads.add_metric(["refused"], self.versions.refused)
        yield reloads
        version = GaugeMetricFamily("metatoken_version_info", "The version that is served.", labels=["version"])
        version.add_metric([self.versions.current.version], 1)
        yield version
        yield GaugeMetricFamily("metatoken_queue_length", "Requests that wait for the model.", self.waiting())
