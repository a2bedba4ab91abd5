"""Ctrl-C stops clustering within a second, at any point and in any routine.

Each case runs in a process of its own, says that it begins, and gets SIGINT some time later. The bound is loose, since
test machines are shared; the measured times are printed (`pytest -s`).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

SETUP = """
import numpy as np
from metatoken._core import cluster as native
from metatoken.tokens.codes.clustering import ClusterReport, Codebook, assign, encode, fit, make_unique
rng = np.random.default_rng(0)
def rows(n, dim=64):
    part = rng.standard_normal((50_000, dim), dtype=np.float32)
    return np.concatenate([part + np.float32(i) / 7 for i in range(-(-n // 50_000))])[:n]
def book(*sizes, dim=64):
    centroids = tuple(rng.standard_normal((k, dim), dtype=np.float32) for k in sizes)
    return Codebook("residual", "euclidean", centroids, ClusterReport(1, None, (), (), (), 0))
"""
CASES = {
    "flat": ("x = rows(1_000_000)", "fit(x, [4096], max_iterations=1000)"),
    "flat, sampled": ("x = rows(1_000_000)", "fit(x, [4096], sample=400_000, max_iterations=1000)"),
    "flat, capped": ("x = rows(100_000)", "fit(x, [512], max_cluster_size=196, max_iterations=2); fit(x, [4096])"),
    "residual": ("x = rows(1_000_000)", "fit(x, [1024, 1024, 1024], max_iterations=1000)"),
    "residual, cosine": ("x = rows(1_000_000)", "fit(x, [1024, 1024], metric='cosine', max_iterations=1000)"),
    "residual, cosine, between the passes": (
        "x = rows(1_000_000)", "for _ in range(9): fit(x, [64, 64], metric='cosine', max_iterations=1)",
    ),
    "tree": ("x = rows(1_000_000)", "fit(x, [256, 64, 16], method='tree', max_iterations=1000)"),
    "tree, sampled": (
        "x = rows(1_000_000)", "fit(x, [256, 64, 16], method='tree', sample=200_000, max_iterations=1000)",
    ),
    "flat+rank": ("x = rows(500_000)", "fit(x, [2048, 500_000], method='flat+rank', max_iterations=1000)"),
    "assign": ("x = rows(1_000_000); b = book(16384)", "assign(x, b)"),
    "assign, float64": ("x = rows(500_000).astype(float); b = book(16384)", "assign(x, b)"),
    "make_unique": (
        "x = rows(1_000_000); b = book(4096, 256); c = rng.integers(256, size=(len(x), 2))", "make_unique(b, c, x)",
    ),
    "make_unique, counter": (
        "x = rows(1_000_000); b = book(4096, 256); c = rng.integers(256, size=(len(x), 2))",
        "for _ in range(9): make_unique(b, c, x, unique='counter')",
    ),
    "encode, moves": ("x = rows(400_000); b = book(2048, 256)", "encode(b, x, unique='nearest'); encode(b, x)"),
    "encode, one large assignment": ("x = rows(8000); b = book(1, 8192)", "encode(b, x); encode(b, x[::-1])"),
    "linear assignment": ("c = rows(6000) @ rows(6000).T; c = c.astype(float)", "native.linear_assignment(c)"),
}  # fmt: skip


@pytest.mark.parametrize("wait", [0.1, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_stops_within_a_second(case: str, wait: float) -> None:
    setup, work = CASES[case]
    script = f"{SETUP}\n{setup}\nprint('begin', flush=True)\n{work}\nprint('end', flush=True)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begin\n"
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, err = process.communicate(timeout=60)
    seconds = time.monotonic() - began
    print(f"{case}, after {wait} s: stopped in {seconds:.2f} s")
    if b"end" in out:
        pytest.skip("the work was over before the signal came")
    assert b"KeyboardInterrupt" in err
    assert seconds < 3
