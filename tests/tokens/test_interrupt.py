"""Ctrl-C stops clustering within a second, at any point and in any routine.

One process runs case after case and gets SIGINT some time after each has begun, so that it also shows that an interrupt
leaves nothing behind. The bound is loose, since test machines are shared; the measured times are printed (`pytest -s`).
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SETUP = """
import numpy as np
from metatoken._core import cluster as native
from metatoken.tokens.codes.clustering import ClusterReport, Codebook, encode, fit, make_unique
rng = np.random.default_rng(0)
def rows(n, dim=64):
    part = rng.standard_normal((50_000, dim), dtype=np.float32)
    return np.concatenate([part + np.float32(i) / 7 for i in range(-(-n // 50_000))])[:n]
def book(*sizes, dim=64):
    centroids = tuple(rng.standard_normal((k, dim), dtype=np.float32) for k in sizes)
    return Codebook("residual", "euclidean", centroids, ClusterReport(1, None, (), (), (), 0))
million = rows(1_000_000)
"""
CASES = {
    "flat": ("x = million", "fit(x, [4096], max_iterations=1000)"),
    "flat, sampled": ("x = million", "fit(x, [4096], sample=400_000, max_iterations=1000)"),
    "flat, capped": ("x = rows(100_000)", "fit(x, [512], max_cluster_size=196, max_iterations=2); fit(x, [4096])"),
    "flat, rows left out": (
        "x = rows(400_000)",
        "native.fit(x, [1024], 'residual', 'euclidean', 'random', 0, 1000, None, None, None, 'portable', None)",
    ),
    "residual": ("x = million", "fit(x, [1024, 1024, 1024], max_iterations=1000)"),
    "residual, cosine": ("x = million", "fit(x, [1024, 1024], metric='cosine', max_iterations=1000)"),
    "residual, cosine, between the passes": (
        "x = million", "for _ in range(9): fit(x, [64, 64], metric='cosine', max_iterations=1)",
    ),
    "tree": ("x = million", "fit(x, [256, 64, 16], method='tree', max_iterations=1000)"),
    "tree, sampled": (
        "x = million", "fit(x, [256, 64, 16], method='tree', sample=200_000, max_iterations=1000)",
    ),
    "flat+rank": ("x = rows(500_000)", "fit(x, [2048, 500_000], method='flat+rank', max_iterations=1000)"),
    "assign": ("x = million; b = book(16384)", "b.assign(x)"),
    "assign, float64": ("x = rows(500_000).astype(float); b = book(16384)", "b.assign(x)"),
    "make_unique": (
        "x = million; b = book(4096, 256); c = rng.integers(256, size=(len(x), 2))", "make_unique(b, c, x)",
    ),
    "make_unique, counter": (
        "x = million; b = book(4096, 256); c = rng.integers(256, size=(len(x), 2))",
        "for _ in range(9): make_unique(b, c, x, unique='counter')",
    ),
    "encode, moves": ("x = rows(400_000); b = book(2048, 256)", "encode(b, x, unique='nearest'); encode(b, x)"),
    "encode, one large assignment": ("x = rows(8000); b = book(1, 8192)", "encode(b, x); encode(b, x[::-1])"),
    "linear assignment": ("c = rows(6000) @ rows(6000).T; c = c.astype(float)", "native.linear_assignment(c)"),
}  # fmt: skip


WAITS = (0.1, 0.6)

# Says `[case, wait, seconds from the signal to the exception]` of every case, with null where the work was over before.
RUN = """
import json, os, signal, sys, threading, time
CASES, WAITS = json.load(sys.stdin)

def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

for case, (setup, work) in CASES.items():
    for wait in WAITS:
        exec(setup)
        sent, seconds = [], None
        timer = threading.Timer(wait, interrupt)
        try:
            timer.start()
            exec(work)
            timer.cancel()
            timer.join()
        except KeyboardInterrupt:
            seconds = time.monotonic() - sent[0]
        print(json.dumps([case, wait, seconds]), flush=True)
"""


@pytest.fixture(scope="module")
def answered() -> dict[tuple[str, float], float | None]:
    """Seconds of every case that came to its end; a case that hangs takes those after it along."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", SETUP + RUN], input=json.dumps([CASES, WAITS]),
            stdout=subprocess.PIPE, text=True, check=False, timeout=300,
        )  # fmt: skip
        out = done.stdout
    except subprocess.TimeoutExpired as error:
        out = bytes(error.stdout or b"").decode()
    return {(case, wait): seconds for case, wait, seconds in map(json.loads, out.splitlines())}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("case", CASES)
def test_stops_within_a_second(case: str, wait: float, answered: dict[tuple[str, float], float | None]) -> None:
    assert (case, wait) in answered, "it never stopped"
    seconds = answered[case, wait]
    if seconds is None:
        pytest.skip("the work was over before the signal came")
    print(f"{case}, after {wait} s: stopped in {seconds:.2f} s")
    assert seconds < 3
