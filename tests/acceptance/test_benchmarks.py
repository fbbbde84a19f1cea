"""Every measurement of `scripts/bench` runs, with tiny sizes. Its figures then mean nothing, so none is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.contenders import fresh, gpujobs_daemon
from benchmarks.support import measurements
from benchmarks.support.daemon import Daemon
from benchmarks.support.options import Options, quick

SLOW = ("first_result", "looking", "phases", "fair_queue", "first_job", "sweeps", "boxes")
"""They start daemons of their own."""


@pytest.fixture(scope="module")
def options() -> Iterator[Options]:
    daemon = Daemon(slots=2)
    daemon.start()
    try:
        yield quick(Options(contenders=(fresh.NAME, gpujobs_daemon.NAME), daemon=daemon))
    finally:
        daemon.stop()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in measurements.names()],
)
def test_it_gives_figures(name: str, options: Options) -> None:
    rows = measurements.run(name, options)
    assert rows, f"{name} gave nothing"
    for row in rows:
        assert row.values and all(value >= 0 for value in row.values), row
