"""Cancelling what has changed since it was looked at, and stops that nobody hears. The daemon's parts are real; Ray is
not started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs.config.settings import resolve
from gpujobs.daemon.daemon import Daemon, Mode
from gpujobs.daemon.main import prepare_state
from gpujobs.model import Job, State, StopReason
from gpujobs.paths import StatePaths
from tests.unit.store.jobs import DEVICE, A, new_job


async def cancel_after_start(daemon: Daemon) -> tuple[Job, Job]:
    """The job as it was looked at, and as the cancelling left it."""
    (seen,) = daemon.store.submit(A, "key", [new_job()])
    daemon.submitted([seen])
    daemon.board.put(daemon.store.start_attempt(seen.id, DEVICE))
    return seen, await daemon.cancel(seen, "a")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    settings = resolve({"state_dir": str(tmp_path / "s")}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    daemon = Daemon(settings)
    yield daemon
    daemon.store.close()


def test_a_job_that_has_started_since_is_cancelled_all_the_same(daemon: Daemon) -> None:
    seen, cancelled = asyncio.run(cancel_after_start(daemon))
    assert seen.state is State.PENDING
    assert cancelled.state is State.STARTING and cancelled.cancel_requested


def test_a_job_whose_stop_was_not_heard_does_not_count_as_stopping(daemon: Daemon) -> None:
    """Else whoever it was to make room for would wait for it, and it would never be asked again."""
    (job,) = daemon.store.submit(A, "key", [new_job()])
    daemon.board.put(job := daemon.store.start_attempt(job.id, DEVICE))
    asyncio.run(daemon.attempts.stop(job, StopReason.PREEMPT, "it made room"))
    assert daemon.board.stopping == set()
