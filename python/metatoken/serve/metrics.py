"""Counters and histograms in the text format that Prometheus reads. Used from the event loop only."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metatoken.serve.versions import Versions

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of values up to each of ascending bounds, inclusive; their number and sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """The lines of the text format; `labels` such as `path="/x"`."""
        seen, comma = 0, "," if labels else ""
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            seen += count
            yield f'{name}_bucket{{{labels}{comma}le="{bound}"}} {seen}'
        braces = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{braces} {self.total:.6f}"
        yield f"{name}_count{braces} {seen}"


class Metrics:
    """What a server counts."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.errors: Counter[str] = Counter()
        self.latency: dict[str, Histogram] = {}
        self.batches = Histogram(SIZES)
        self.running = 0

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Counts an answered request; `path` must be one of few."""
        self.requests[method, path, status] += 1
        self.latency.setdefault(path, Histogram(SECONDS)).add(seconds)

    def text(self, queue: int, versions: Versions) -> str:
        """All of it, with the number of requests that wait for the model, and what is served."""
        return "\n".join(self._lines(queue, versions)) + "\n"

    def _lines(self, queue: int, versions: Versions) -> Iterator[str]:
        yield from _head("metatoken_requests_total", "counter", "Requests by method, path and status.")
        for (method, path, status), count in sorted(self.requests.items()):
            yield f'metatoken_requests_total{{method="{method}",path="{path}",status="{status}"}} {count}'
        yield from _head("metatoken_errors_total", "counter", "Errors by code, those inside a batch included.")
        for code, count in sorted(self.errors.items()):
            yield f'metatoken_errors_total{{code="{code}"}} {count}'
        yield from _head("metatoken_request_seconds", "histogram", "Seconds from a request to the end of its answer.")
        for path, histogram in sorted(self.latency.items()):
            yield from histogram.lines("metatoken_request_seconds", f'path="{path}"')
        yield from _head("metatoken_batch_size", "histogram", "Requests that passed through the model at once.")
        yield from self.batches.lines("metatoken_batch_size")
        yield from _head("metatoken_reloads_total", "counter", "Versions that were taken up, and that were refused.")
        for result, count in (("done", versions.exchanged), ("refused", versions.refused)):
            yield f'metatoken_reloads_total{{result="{result}"}} {count}'
        yield from _head("metatoken_version_info", "gauge", "The version that is served.")
        yield f'metatoken_version_info{{version="{versions.current.version}"}} 1'
        gauges = {
            "metatoken_queue_length": ("Requests that wait for the model.", queue),
            "metatoken_requests_running": ("Requests that are being answered.", self.running),
            "process_resident_memory_bytes": ("Memory of the process.", resident_bytes()),
        }
        for name, (what, value) in gauges.items():
            if value is not None:
                yield from _head(name, "gauge", what)
                yield f"{name} {value}"


def resident_bytes() -> int | None:
    """Memory of this process, or None where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii", errors="replace").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"
