"""A plugin of pytest: which statements each test ran, in whatever process, and how long it took.

What a fixture of a module or a session did counts for all tests that use it, though it ran for the first of them.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

_tests: list[dict[str, Any]] = []
_shared: dict[str, set[int]] = defaultdict(set)
_shared_seconds: dict[str, float] = defaultdict(float)
_failed: set[str] = set()
_so_far: set[int] = set()
_elsewhere = 0.0


def _taken() -> set[int]:
    """What ran since this was last asked."""
    from _ran import ran  # type: ignore[import-not-found]  # of the copy's environment

    found = {number for number, has_run in enumerate(bytes(ran)) if has_run}
    ran[:] = bytes(len(ran))
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    global _so_far, _elsewhere
    _taken()
    _so_far, _elsewhere = set(), 0.0
    begun = time.monotonic()
    result = yield
    own = time.monotonic() - begun - _elsewhere
    names = [name for name in getattr(item, "fixturenames", ()) if name in _shared]
    lines = _so_far.union(_taken(), *(_shared[name] for name in names))
    seconds = own + sum(_shared_seconds[name] for name in names)
    passed = item.nodeid not in _failed
    _tests.append(
        {"name": item.nodeid, "seconds": round(seconds, 2), "passed": passed, "lines": sorted(lines)}
    )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    global _elsewhere
    if fixturedef.scope == "function":
        return (yield)
    _so_far.update(_taken())
    begun = time.monotonic()
    try:
        return (yield)
    finally:
        seconds = time.monotonic() - begun
        _elsewhere += seconds
        _shared_seconds[fixturedef.argname] += seconds
        _shared[fixturedef.argname] |= _taken()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    Path(os.environ["RECORDED"]).write_text(json.dumps(_tests))
