"""A plugin of pytest: which file of tests runs when, where all of them run on several cores.

The file that took longest when it ran last is first, so that no core is idle at the end. All that take the one daemon
of a session (`shared_daemon`) are one file to the scheduler: else each of its processes would start a daemon. What each
file took is kept in build/durations.json, with which the next run begins.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

KEPT = "build/durations.json"
SHARED = "the shared daemon"

TAKEN = pytest.StashKey[defaultdict[str, float]]()
"""Seconds by file."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TAKEN] = defaultdict(float)
    config.pluginmanager.register(_Recorder(config.stash[TAKEN]))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In each process of xdist alike."""
    files = list(dict.fromkeys(unit_of(item.nodeid, config.rootpath) for item in items))
    places = {file: place for place, file in enumerate(longest_first(files, kept(config.rootpath)))}
    items.sort(key=lambda item: places[unit_of(item.nodeid, config.rootpath)])


def longest_first(files: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """What has never run is first, in its order."""
    return sorted(files, key=lambda file: -seconds.get(file, float("inf")))


def unit_of(test: str, root: Path) -> str:
    """The file of a test, or what stands for several files that have to run in one process."""
    file = test.partition("::")[0]
    return SHARED if _is_shared(root / file) else file


@cache
def _is_shared(path: Path) -> bool:
    try:
        return path.name.startswith("test_") and "shared_daemon" in path.read_text()
    except OSError:
        return False


def kept(root: Path) -> Mapping[str, float]:
    try:
        found: Mapping[str, float] = json.loads((root / KEPT).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


class _Recorder:
    """In the process that hears of all tests."""

    def __init__(self, taken: defaultdict[str, float]) -> None:
        self._taken = taken

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._taken[report.nodeid.partition("::")[0]] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    taken = session.config.stash[TAKEN]
    if hasattr(session.config, "workerinput") or not taken:
        return
    root = session.config.rootpath
    units: defaultdict[str, float] = defaultdict(float)
    for file, seconds in taken.items():
        units[unit_of(file, root)] += seconds
    path = root / KEPT
    path.parent.mkdir(exist_ok=True)
    rounded = {file: round(seconds, 1) for file, seconds in {**kept(root), **units}.items()}
    path.write_text(json.dumps(rounded, indent=1, sort_keys=True) + "\n")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from xdist.scheduler import LoadFileScheduling

    class ByUnit(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid, config.rootpath)

    return ByUnit(config, log)
