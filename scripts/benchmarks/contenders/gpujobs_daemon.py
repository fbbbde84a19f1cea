"""gpujobs, its daemon running: from `gpujobs submit` until `gpujobs wait` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.support.batch import Batch
from benchmarks.support.daemon import TUTORIAL_JOB, running

NAME = "gpujobs"


def missing() -> None:
    """It is here."""


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    with running(batch.slots, batch.daemon) as daemon:

        def run() -> None:
            jobs = daemon.submit(*[TUTORIAL_JOB] * batch.jobs)
            daemon.run("wait", *jobs)
            models = [daemon.state / "results" / str(job) / "model.keras" for job in jobs]
            if not all(model.exists() for model in models):
                raise RuntimeError(f"a job has no model: {daemon.run('status', '--all')}")

        yield run
