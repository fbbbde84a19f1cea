"""Daemons for the acceptance tests. Starting one costs seconds, so tests that kill none share one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .harness import RunningDaemon, short_directory
from .people import Person, new_person


@contextmanager
def running(**options: Any) -> Iterator[RunningDaemon]:
    """A daemon that is gone, with all its processes, at the end."""
    root = short_directory()
    daemon = RunningDaemon(root, **options)
    try:
        daemon.start()
        yield daemon
    finally:
        try:
            daemon.stop()
        finally:
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def one_for_many() -> Iterator[RunningDaemon]:
    with running() as daemon:
        daemon.root.chmod(0o711)
        yield daemon


@pytest.fixture(scope="module")
def shared_daemon(one_for_many: RunningDaemon, request: pytest.FixtureRequest) -> RunningDaemon:
    """One of all modules that take it for their `daemon`, each with a directory of its own: their tests look at their
    own jobs alone, leave none running or waiting and no device taken, and neither end it nor set anything."""
    return one_for_many.seen_from(one_for_many.root / request.path.stem)


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """Shared by the tests of a module: they leave no job running and no device taken."""
    with running() as daemon:
        yield daemon


@pytest.fixture
def own_daemon() -> Iterator[RunningDaemon]:
    """For tests that kill it."""
    with running() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: to make users, and to take their identity")


@pytest.fixture(scope="session")
def place(as_root: None) -> Iterator[Path]:
    directory = short_directory()
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def alice(place: Path) -> Iterator[Person]:
    """In a group besides her own, as people of a lab are."""
    with new_person(f"gjalice{place.name[-5:]}", place / "alice") as person:
        subprocess.run(["usermod", "--append", "--groups", "users", person.name], check=True)
        yield person


@pytest.fixture(scope="session")
def bob(place: Path) -> Iterator[Person]:
    with new_person(f"gjbob{place.name[-5:]}", place / "bob") as person:
        yield person


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows the history of the jobs and the daemon's log."""
    report = yield
    if report.when == "call" and report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, RunningDaemon):
                report.sections.append(("daemon", value.story()))
    return report
