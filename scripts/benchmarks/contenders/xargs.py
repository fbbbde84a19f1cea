"""`xargs -P`, of GNU findutils."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.support.batch import Batch

NAME = "xargs -P"


def missing() -> str | None:
    return None if shutil.which("xargs") else "xargs is not installed (Debian: findutils)"


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    numbers = "\n".join(str(number) for number in range(batch.jobs))
    command = ["xargs", "-P", str(batch.slots), "-n", "1", str(batch.write_script())]

    def run() -> None:
        subprocess.run(command, input=numbers, text=True, check=True, stderr=subprocess.DEVNULL)

    yield run
