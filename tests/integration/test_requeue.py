"""Queueing ended jobs again, within what the site allows. The daemon's parts are real; Ray is not started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpujobs.config import resolve
from gpujobs.daemon.daemon import Daemon, Mode, cancelled_by
from gpujobs.daemon.handlers.act import _requeue
from gpujobs.daemon.main import prepare_state
from gpujobs.errors import UsageError
from gpujobs.model import Job, State, utc_now
from gpujobs.paths import StatePaths
from tests.unit.store.test_store import DEVICE, A, new_job

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


def test_many_jobs_in_the_order_in_which_they_were_named(daemon: Daemon) -> None:
    jobs = cancelled(daemon)
    copies = asyncio.run(_requeue(daemon, A, jobs))
    assert [copy.continues for copy in copies] == [job.id for job in jobs]
    assert {copy.state for copy in copies} == {State.PENDING}
    assert len(daemon.board.queue) == JOBS


def test_nobody_gets_more_into_the_queue_than_by_submitting(daemon: Daemon) -> None:
    jobs = cancelled(daemon)
    asyncio.run(_requeue(daemon, A, jobs[:1]))
    with pytest.raises(UsageError, match="at most 250 may wait at once"):
        asyncio.run(_requeue(daemon, A, jobs))
    assert len(daemon.board.queue) == 1
    assert len(asyncio.run(_requeue(daemon, ADMIN, jobs))) == JOBS


def test_a_job_that_was_queued_again_and_cancelled_while_it_waited_hands_the_first_checkpoint_on(
    daemon: Daemon,
) -> None:
    first = cancelled(daemon)[0]
    (second,) = asyncio.run(_requeue(daemon, A, [first]))
    second = daemon.store.cancel_pending(second.id, "a", cancelled_by("a"))
    (third,) = asyncio.run(_requeue(daemon, A, [second]))
    origins = [str(daemon.paths.job(job.id).checkpoint) for job in (second, first)]
    assert daemon.specs._checkpoint(third) == {"checkpoint_from": origins, "begins_anew": False}


def test_a_job_can_begin_anew(daemon: Daemon) -> None:
    """Of an ended one as a copy that continues nothing; of one that waits, with its next attempt."""
    first = cancelled(daemon)[0]
    (copy,) = asyncio.run(_requeue(daemon, A, [first], fresh=True))
    assert daemon.specs._checkpoint(copy) == {"checkpoint_from": [], "begins_anew": False}
    (waiting,) = asyncio.run(_requeue(daemon, A, [first]))
    (again,) = asyncio.run(_requeue(daemon, A, [waiting], fresh=True))
    assert again.id == waiting.id
    assert daemon.specs._checkpoint(again) == {"checkpoint_from": [], "begins_anew": True}
    attempt = daemon.store.start_attempt(again.id, DEVICE).attempt
    assert daemon.store.job(again.id).begins_anew, "an attempt that does not come to it changes nothing"
    daemon.store.mark_running(again.id, attempt, 1, utc_now())
    assert not daemon.store.job(again.id).begins_anew, "the attempts after it go on from its own checkpoint"


def test_a_class_that_an_admin_has_given_is_not_kept(daemon: Daemon) -> None:
    (job, *_) = cancelled(daemon)
    (own,) = asyncio.run(_requeue(daemon, A, [job]))
    (theirs,) = asyncio.run(_requeue(daemon, ADMIN, [job]))
    assert (own.priority, theirs.priority) == (3, 9)
