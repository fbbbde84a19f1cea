"""task-spooler: `tsp`, with a server of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.support.batch import Batch

NAME = "task-spooler"


def missing() -> str | None:
    return None if shutil.which("tsp") else "tsp is not installed (Debian: task-spooler)"


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    own = {
        "TS_SOCKET": str(batch.scratch / "tsp"),
        "TS_SLOTS": str(batch.slots),
        "TMPDIR": str(batch.scratch),
    }
    environment = {**os.environ, **own}

    def tsp(*arguments: str) -> None:
        subprocess.run(["tsp", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)

    def run() -> None:
        for command in batch.commands():
            tsp(*command)
        batch.wait()

    tsp("-S", str(batch.slots))  # starts the server
    try:
        yield run
    finally:
        tsp("-K")
