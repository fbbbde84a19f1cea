"""Queueing ended jobs again, within what the site allows. The daemon's parts are real; Ray is not started."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config.settings import resolve
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.jobs.limits import change_limit
from gpujobs.daemon.jobs.requeues import Changes, requeue
from gpujobs.daemon.jobs.service import cancelled_by
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.demand import Demand, Dependencies
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, Share, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.policy import PendingJob, Queue, Rules, Snapshot
from gpujobs.policy.inputs.rules import PriorityRules
from gpujobs.policy.users.accounts import Accounts
from tests.unit.store.jobs import DEVICE, A, complete, having, new_job

JOBS = 250
"""More than one batch."""

LIMITS = f"[limits]\nmax_waiting = {JOBS}\nmax_time_limit = '2h'\n[priority]\nmax_priority = 3\n"
ADMIN = replace(A, uid=0, user="root", is_admin=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    config = tmp_path / "gpujobs.toml"
    config.write_text(LIMITS)
    settings = resolve({"state_dir": str(tmp_path / "s"), "config": str(config)}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    daemon = build(settings)
    yield daemon
    daemon.store.close()


def cancelled(daemon: Parts) -> list[Job]:
    """Of user a. An admin had given them a high class."""
    new = having(new_job(), data=(), priority=9)
    with daemon.store.together():
        jobs = daemon.store.submit(A, "key", [new] * JOBS)
        return [daemon.store.cancel_pending(job.id, "a", cancelled_by("a")) for job in jobs]


def queued_again(daemon: Parts, caller: Caller, jobs: Sequence[Job], **changes: Any) -> list[Job]:
    return asyncio.run(requeue(daemon.jobs, caller, jobs, Changes(**changes))).jobs


def test_many_jobs_in_the_order_in_which_they_were_named(daemon: Parts) -> None:
    jobs = cancelled(daemon)
    copies = queued_again(daemon, A, jobs)
    assert [copy.continues for copy in copies] == [job.id for job in jobs]
    assert {copy.state for copy in copies} == {State.PENDING}
    assert len(daemon.cache.queue) == JOBS


def test_nobody_gets_more_into_the_queue_than_by_submitting(daemon: Parts) -> None:
    jobs = cancelled(daemon)
    queued_again(daemon, A, jobs[:1])
    with pytest.raises(UsageError, match="at most 250 may wait at once"):
        queued_again(daemon, A, jobs)
    assert len(daemon.cache.queue) == 1
    assert len(queued_again(daemon, ADMIN, jobs)) == JOBS


def test_what_is_queued_again_at_the_same_moment_is_counted(daemon: Parts) -> None:
    jobs = cancelled(daemon)

    async def twice() -> list[Any]:
        asked = [requeue(daemon.jobs, A, jobs, Changes()) for _ in range(3)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    done = asyncio.run(twice())
    refused = [one for one in done if isinstance(one, UsageError)]
    assert len(refused) == 2
    assert all("250 of yours wait; at most 250 may wait at once" in str(one) for one in refused)
    assert daemon.cache.waiting_of(A.uid) == len(daemon.cache.queue) == JOBS


def test_what_was_not_queued_again_after_all_is_not_counted(daemon: Parts) -> None:
    jobs = cancelled(daemon)
    with pytest.raises(UsageError, match="give one of them"):
        queued_again(daemon, A, jobs, finish=True, fresh=True)
    assert daemon.cache.waiting_of(A.uid) == 0
    assert len(queued_again(daemon, A, jobs)) == JOBS


def checkpoint_of(daemon: Parts, job: Job) -> tuple[list[str], bool]:
    """What the spec of its next attempt says of it, as paths."""
    origins = daemon.specs.origins(job)
    return [str(daemon.paths.job(one).checkpoint) for one in origins], job.begins_anew


def test_a_job_that_was_queued_again_and_cancelled_while_it_waited_hands_the_first_checkpoint_on(
    daemon: Parts,
) -> None:
    first = cancelled(daemon)[0]
    (second,) = queued_again(daemon, A, [first])
    second = daemon.store.cancel_pending(second.id, "a", cancelled_by("a"))
    (third,) = queued_again(daemon, A, [second])
    origins = [str(daemon.paths.job(job.id).checkpoint) for job in (second, first)]
    assert checkpoint_of(daemon, third) == (origins, False)


def test_a_job_can_begin_anew(daemon: Parts) -> None:
    """Of an ended one as a copy that continues nothing; of one that waits, with its next attempt."""
    first = cancelled(daemon)[0]
    (copy,) = queued_again(daemon, A, [first], fresh=True)
    assert checkpoint_of(daemon, copy) == ([], False)
    (waiting,) = queued_again(daemon, A, [first])
    (again,) = queued_again(daemon, A, [waiting], fresh=True)
    assert again.id == waiting.id
    assert checkpoint_of(daemon, again) == ([], True)
    attempt = daemon.store.start_attempt(again.id, DEVICE).attempt
    assert daemon.store.job(again.id).begins_anew, "an attempt that does not come to it changes nothing"
    daemon.store.mark_running(again.id, attempt, 1, utc_now())
    assert not daemon.store.job(again.id).begins_anew, "the attempts after it go on from its own checkpoint"


def test_a_class_that_an_admin_has_given_is_not_kept(daemon: Parts) -> None:
    (job, *_) = cancelled(daemon)
    (own,) = queued_again(daemon, A, [job])
    (theirs,) = queued_again(daemon, ADMIN, [job])
    assert (own.demand.priority, theirs.demand.priority) == (3, 9)


BEGIN = datetime(2036, 7, 1, 6, tzinfo=UTC)


def submitted(daemon: Parts, **said: Any) -> Job:
    (job,) = daemon.store.submit(A, str(uuid.uuid4()), [having(new_job(), data=(), **said)])
    daemon.cache.put(job)
    return job


def ended(daemon: Parts, job: Job) -> Job:
    daemon.jobs._cancel_waiting([job], "a", "")
    return daemon.store.job(job.id)


def test_all_that_was_said_at_the_submission_is_kept(daemon: Parts) -> None:
    others = [submitted(daemon) for _ in range(3)]
    first, second, third = (one.id for one in others)
    demand = Demand(
        2, 1, 1 << 30, 7, "f", preemptible=True, time_limit_seconds=60.0, begin_at=BEGIN, at_most=3,
        awaits=Dependencies((first,), (second,), (third,)),
    )  # fmt: skip
    said: dict[str, Any] = {"name": "n", "retries": 5, "share": Share.LAB, "demand": demand}
    (job,) = daemon.store.submit(A, "key", [replace(new_job(), data=(), **said)])
    daemon.cache.put(job)
    (copy,) = queued_again(daemon, A, [ended(daemon, job)])
    whole = daemon.store.job(copy.id)
    assert {key: getattr(whole, key) for key in said} == said
    assert (whole.origin, whole.held) == (job.id, False)
    (held,) = queued_again(
        daemon, A, [daemon.store.job(job.id)], hold=True, no_after=True, limit_seconds=30.0
    )
    assert (held.held, held.demand.awaits) == (True, Dependencies())
    assert held.demand.time_limit_seconds == 30.0


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_what_is_queued_again_together_waits_for_the_copies(daemon: Parts, order: tuple[int, ...]) -> None:
    first = submitted(daemon)
    second = submitted(daemon, after=(first.id,))
    third = submitted(daemon, after=(second.id,), after_any=(first.id,))
    jobs = [first, second, third]
    ended(daemon, first)
    assert [daemon.store.job(job.id).state for job in jobs] == [State.CANCELLED] * 3
    copies = queued_again(daemon, A, [daemon.store.job(jobs[place].id) for place in order])
    by_origin = {copy.origin: copy for copy in copies}
    one, two, three = (by_origin[job.id] for job in jobs)
    assert [copy.origin for copy in copies] == [jobs[place].id for place in order]
    assert (one.demand.awaits.after, two.demand.awaits.after) == ((), (one.id,))
    assert three.demand.awaits == Dependencies((two.id,), (one.id,))
    assert {id for id in daemon.cache.jobs if daemon.cache.queue.is_ready(id)} == {one.id}


def test_what_was_queued_again_earlier_is_waited_for_and_said(daemon: Parts) -> None:
    first = submitted(daemon)
    second = submitted(daemon, after=(first.id,))
    ended(daemon, first)
    (copy,) = queued_again(daemon, A, [daemon.store.job(first.id)])
    requeued = asyncio.run(requeue(daemon.jobs, A, [daemon.store.job(second.id)]))
    (again,) = requeued.jobs
    assert daemon.store.job(again.id).demand.awaits.after == (copy.id,)
    said = f"waits for job {copy.id}, as which job {first.id} was queued again"
    assert requeued.notes == {again.id: said}


def test_what_could_never_start_is_refused_with_the_way_out(daemon: Parts) -> None:
    first = submitted(daemon)
    second = submitted(daemon, after=(first.id,))
    ended(daemon, first)
    count = len(daemon.store.ended()) + len(daemon.cache.jobs)
    with pytest.raises(UsageError, match=f"requeue {first.id} {second.id}.*--no-after"):
        queued_again(daemon, A, [daemon.store.job(second.id)])
    assert len(daemon.store.ended()) + len(daemon.cache.jobs) == count


def test_the_copy_of_a_copy_is_of_the_same_line(daemon: Parts) -> None:
    first = submitted(daemon)
    waiting = submitted(daemon, after_any=(first.id,))
    (copy,) = queued_again(daemon, A, [ended(daemon, first)])
    (again,) = queued_again(daemon, A, [ended(daemon, copy)])
    assert again.origin == first.id
    (last,) = queued_again(daemon, A, [ended(daemon, waiting)])
    assert daemon.store.job(last.id).demand.awaits.after_any == (again.id,)


def test_a_begin_that_is_over_makes_nobody_older(daemon: Parts) -> None:
    """What is queued again is as young as what is submitted now."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    rules = Rules(PriorityRules(weight_age=1000.0))
    old = PendingJob(1, Demand(begin_at=now - timedelta(days=5)), user="a", submitted_at=now)
    new = PendingJob(2, user="a", submitted_at=now)
    accounts = Accounts(Snapshot(now, [old, new], [], rules=rules), Queue([old, new]), [])
    assert accounts.score(accounts["a"], old) == accounts.score(accounts["a"], new)


def test_a_time_limit_is_changed_within_what_the_site_allows(daemon: Parts) -> None:
    job = submitted(daemon, time_limit_seconds=600.0)

    def limited(caller: Caller, seconds: float | None) -> float | None:
        (changed,) = asyncio.run(change_limit(daemon.jobs, caller, [daemon.store.job(job.id)], seconds))
        assert daemon.cache.jobs[job.id].demand == changed.demand
        return changed.demand.time_limit_seconds

    assert [limited(A, seconds) for seconds in (60.0, 7200.0, 30.0)] == [60.0, 7200.0, 30.0]
    with pytest.raises(UsageError, match="at most 2 h are allowed"):
        limited(A, 7201.0)
    with pytest.raises(UsageError, match="at most 2 h are"):
        limited(A, None)
    assert [limited(ADMIN, seconds) for seconds in (90_000.0, None)] == [90_000.0, None]
    assert [event.kind for event in daemon.store.events(job.id)][1:] == ["limited"] * 5


def completed(daemon: Parts, job: Job) -> Job:
    done = complete(daemon.store, job.id)
    daemon.cache.put(done)
    return done


def test_one_that_has_completed_trains_once_more_from_the_beginning(daemon: Parts) -> None:
    job = submitted(daemon)
    (copy,) = queued_again(daemon, A, [completed(daemon, job)])
    assert (copy.continues, copy.origin) == (None, job.id)


def test_what_has_completed_is_waited_for_and_not_its_copy_that_was_cancelled(daemon: Parts) -> None:
    first = submitted(daemon)
    waiting = submitted(daemon, after=(first.id,))
    (copy,) = queued_again(daemon, A, [completed(daemon, first)])
    ended(daemon, copy)
    (again,) = queued_again(daemon, A, [ended(daemon, waiting)])
    assert daemon.store.job(again.id).demand.awaits.after == (first.id,)


def test_a_copy_may_share_a_device_though_its_original_had_to_be_alone(daemon: Parts) -> None:
    """Who ran out of the memory that it had reserved is tried alone: the copy begins with what was asked for."""
    job = submitted(daemon, exclusive=True)
    (copy,) = queued_again(daemon, A, [ended(daemon, job)])
    assert job.demand.exclusive and not copy.demand.exclusive
