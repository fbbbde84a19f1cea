"""Cancelling what has changed since it was looked at. The daemon's parts are real; Ray is not started."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gpujobs.config import resolve
from gpujobs.daemon.daemon import Daemon, Mode
from gpujobs.daemon.main import prepare_state
from gpujobs.model import Job, State
from gpujobs.paths import StatePaths
from tests.unit.store.test_store import DEVICE, A, new_job


async def cancel_after_start(daemon: Daemon) -> tuple[Job, Job]:
    """The job as it was looked at, and as the cancelling left it."""
    (seen,) = daemon.store.submit(A, "key", [new_job()])
    daemon.submitted([seen])
    daemon.board.put(daemon.store.start_attempt(seen.id, DEVICE))
    return seen, await daemon.cancel(seen, "a")


def test_a_job_that_has_started_since_is_cancelled_all_the_same(tmp_path: Path) -> None:
    settings = resolve({"state_dir": str(tmp_path / "s")}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    daemon = Daemon(settings)
    try:
        seen, cancelled = asyncio.run(cancel_after_start(daemon))
    finally:
        daemon.store.close()
    assert seen.state is State.PENDING
    assert cancelled.state is State.STARTING and cancelled.cancel_requested
