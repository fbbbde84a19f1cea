"""Queueing ended jobs again, within what the site allows. The daemon's parts are real; Ray is not started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config import resolve
from gpujobs.daemon.daemon import Daemon, Mode, cancelled_by
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.requeues import Changes, requeue
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, State
from gpujobs.paths import StatePaths
from tests.unit.store.test_store import A, new_job

JOBS = 250
"""More than one batch."""

LIMITS = f"[limits]\nmax_waiting = {JOBS}\n[priority]\nmax_priority = 3\n"
ADMIN = replace(A, uid=0, user="root", is_admin=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    config = tmp_path / "gpujobs.toml"
    config.write_text(LIMITS)
    settings = resolve({"state_dir": str(tmp_path / "s"), "config": str(config)}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    daemon = Daemon(settings)
    yield daemon
    daemon.store.close()


def cancelled(daemon: Daemon) -> list[Job]:
    """Of user a. An admin had given them a high class."""
    new = replace(new_job(), data=(), priority=9)
    with daemon.store.together():
        jobs = daemon.store.submit(A, "key", [new] * JOBS)
        return [daemon.store.cancel_pending(job.id, "a", cancelled_by("a")) for job in jobs]


def queued_again(daemon: Daemon, caller: Caller, jobs: Sequence[Job], **changes: Any) -> list[Job]:
    return asyncio.run(requeue(daemon, caller, jobs, Changes(**changes))).jobs


def test_many_jobs_in_the_order_in_which_they_were_named(daemon: Daemon) -> None:
    jobs = cancelled(daemon)
    copies = queued_again(daemon, A, jobs)
    assert [copy.continues for copy in copies] == [job.id for job in jobs]
    assert {copy.state for copy in copies} == {State.PENDING}
    assert len(daemon.board.queue) == JOBS


def test_nobody_gets_more_into_the_queue_than_by_submitting(daemon: Daemon) -> None:
    jobs = cancelled(daemon)
    queued_again(daemon, A, jobs[:1])
    with pytest.raises(UsageError, match="at most 250 may wait at once"):
        queued_again(daemon, A, jobs)
    assert len(daemon.board.queue) == 1
    assert len(queued_again(daemon, ADMIN, jobs)) == JOBS


def test_a_class_that_an_admin_has_given_is_not_kept(daemon: Daemon) -> None:
    (job, *_) = cancelled(daemon)
    (own,) = queued_again(daemon, A, [job])
    (theirs,) = queued_again(daemon, ADMIN, [job])
    assert (own.priority, theirs.priority) == (3, 9)
