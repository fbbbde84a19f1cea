"""A Python script for each job, from a cold start, started by a loop."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.support.batch import Batch

NAME = "plain scripts"


def missing() -> None:
    """Needs nothing."""


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    def run() -> None:
        with ThreadPoolExecutor(batch.slots) as slots:
            for done in [slots.submit(_call, command) for command in batch.commands()]:
                done.result()

    yield run


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
