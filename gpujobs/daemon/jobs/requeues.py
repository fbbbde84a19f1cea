"""Queueing jobs once more: running ones go back to the queue, of ended ones a copy is made.

A copy has all that was said at the submission. What it waits for is what its original waited for, as that is
now: the copy that is made in the same request, else the newest of those that were made before.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from gpujobs.daemon.jobs.checks import check_limit, check_waiting
from gpujobs.daemon.jobs.service import JobService
from gpujobs.daemon.pauses import Pauses
from gpujobs.demand import Dependencies
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, State, StopReason
from gpujobs.store.records import NewJob
from gpujobs.store.store import Store

BATCH = 200
"""Copies that are one transaction."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the copies are to have otherwise than their originals."""

    hold: bool = False
    finish: bool = False
    """They end at the epoch of their checkpoint, as if it had been the last."""
    no_after: bool = False
    """They wait for nothing."""
    fresh: bool = False
    """They begin anew, without a checkpoint."""
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Requeued:
    """In the order in which the jobs were named. `notes`: what their owners should know, by job."""

    jobs: list[Job]
    notes: Mapping[int, str]


@dataclass(slots=True)
class _Awaited:
    """What a copy waits for, of jobs that have numbers already. `roots` are of those that get copies too."""

    kinds: list[list[int]] = field(default_factory=lambda: [[], [], []])
    roots: list[list[int]] = field(default_factory=lambda: [[], [], []])
    groups: dict[int, int] = field(default_factory=dict)
    """By number, and by root."""
    notes: list[str] = field(default_factory=list)


async def requeue(
    service: JobService, caller: Caller, jobs: Sequence[Job], changes: Changes = Changes()
) -> Requeued:
    """All are looked at before any is changed. Copies are made in the order of their originals, so that what they
    wait for is there; in batches, for the same reasons as other changes."""
    groups = await service.groups_of(caller.user)
    jobs = _with_those_that_failed(service, jobs)
    ended = sorted((job for job in jobs if job.state.is_final), key=lambda job: job.id)
    if ended and not caller.is_admin:
        waiting = service.cache.waiting_of(caller.uid)
        check_waiting(waiting, len(ended), caller.user, groups, service.rules)
    # Nothing is awaited between the check and this: what is queued again at the same moment is counted.
    with service.cache.coming(caller.uid, len(ended)) as here:
        await _check(service, caller, groups, ended, changes)
        awaited = await _all_awaited(service, ended, changes)
        copies = await _copied(service, caller, ended, changes, awaited, here)
    requeued = [copies.get(job.id) or await _send_back(service, caller, job, changes.fresh) for job in jobs]
    notes = {copies[job.id].id: "; ".join(_notes(job, awaited[job.id], changes)) for job in ended}
    return Requeued(requeued, {job: note for job, note in notes.items() if note})


async def _all_awaited(service: JobService, ended: Sequence[Job], changes: Changes) -> dict[int, _Awaited]:
    again, pauses = {job.root for job in ended}, Pauses()
    awaited: dict[int, _Awaited] = {}
    for job in ended:
        awaited[job.id] = _awaited(service, job, again, changes)
        await pauses.due()
    return awaited


async def _copied(
    service: JobService, caller: Caller, ended: Sequence[Job], changes: Changes,
    awaited: Mapping[int, _Awaited], here: Callable[[int], None],
) -> dict[int, Job]:  # fmt: skip
    """By the originals' ids. `here`: told of how many wait now."""
    copies: dict[int, Job] = {}
    roots: dict[int, int] = {}

    def copied_now(batch: Sequence[Job]) -> list[Job]:
        copied = _copies(service, caller, batch, changes, awaited, roots)
        here(len(copied))
        return copied

    for start in range(0, len(ended), BATCH):
        batch = ended[start : start + BATCH]
        copied = await service.writer.patient(partial(copied_now, batch))
        copies |= {job.id: copy for job, copy in zip(batch, copied, strict=True)}
        roots |= {job.root: copy.id for job, copy in zip(batch, copied, strict=True)}
        service.changed.tell()
        await asyncio.sleep(0)
    return copies


def _with_those_that_failed(service: JobService, jobs: Sequence[Job]) -> list[Job]:
    """A job that has ended without success since it was chosen gets a copy, as if it had been chosen after that."""
    now = {job.id: job for job in service.as_they_are([job for job in jobs if not job.state.is_final])}
    failed = {job.id: job for job in now.values() if job.state.is_final and job.state is not State.COMPLETED}
    return [failed.get(job.id, job) for job in jobs]


async def _check(
    service: JobService, caller: Caller, groups: Sequence[str], ended: Sequence[Job], changes: Changes
) -> None:
    if changes.limit_seconds is not None:
        check_limit(changes.limit_seconds, caller, groups, service.rules)
    if changes.finish and changes.fresh:
        raise UsageError(
            "finish ends at the epoch of the checkpoint, and fresh leaves the checkpoint; give one of them"
        )
    pauses = Pauses()
    for job in ended:
        await pauses.due()
        if changes.finish and (
            job.state is State.COMPLETED or "training" not in service.store.spec(job.id).resolved
        ):
            raise UsageError(
                f"job {job.id} is {job.state}; --finish is for trainings that ended before they were complete"
            )


def _awaited(service: JobService, job: Job, again: set[int], changes: Changes) -> _Awaited:
    """Raises UsageError where the copy could never start."""
    found = _Awaited()
    whole = service.store.job(job.id)
    if changes.no_after:
        return found
    awaits = whole.demand.awaits
    for kind, numbers in enumerate((awaits.after, awaits.after_any, awaits.after_failed)):
        for number in numbers:
            line = service.store.line_of(number)
            root, group = line[0].root, awaits.groups.get(number)
            if root in again:
                found.roots[kind].append(root)
                key = root
            else:
                key = _now(job, kind, number, line)
                found.kinds[kind].append(key)
                if key != number:
                    found.notes.append(f"waits for job {key}, as which job {number} was queued again")
            if group is not None:
                found.groups[key] = group
    return found


def _now(job: Job, kind: int, number: int, line: Sequence[Job]) -> int:
    """Which of a line of copies is to be waited for."""
    if kind != 0:
        return line[-1].id
    able = [one.id for one in line if not one.state.is_final or one.state is State.COMPLETED]
    if able:
        return able[-1]
    raise UsageError(
        f"job {job.id} waits for job {number}, which has ended {line[-1].state}; queue both again "
        f"(`gpujobs requeue {number} {job.id}`), or this one without what it waits for (--no-after)"
    )


def _notes(job: Job, awaited: _Awaited, changes: Changes) -> list[str]:
    held = ["its original was held, this one is not (--hold)"] if job.held and not changes.hold else []
    return awaited.notes + held


def _copies(
    service: JobService,
    caller: Caller,
    jobs: Sequence[Job],
    changes: Changes,
    awaited: Mapping[int, _Awaited],
    roots: Mapping[int, int],
) -> list[Job]:
    """One transaction: all of them or none."""
    made: list[Job] = []
    known = dict(roots)

    def submit(store: Store) -> list[Job]:
        for job in jobs:
            new = _copy(service, caller, job, changes, awaited[job.id], known)
            made.append(_submit(store, caller, job, new))
            known[job.root] = made[-1].id
        return made

    return service.writer.jobs(submit)


def _submit(store: Store, caller: Caller, job: Job, new: NewJob) -> Job:
    """As a new job of the same user: results are never overwritten."""
    (copy,) = store.submit(
        replace(caller, uid=job.uid, user=job.user, gid=store.gid(job.id)),
        f"requeue-{job.id}-{uuid.uuid4()}",
        [new],
        actor=caller.user,
    )
    return copy


async def _send_back(service: JobService, caller: Caller, job: Job, fresh: bool) -> Job:
    if fresh:
        job = await service.writer.patient(partial(_begin_anew, service, caller, job.id))
    if job.state is State.PENDING:
        return job
    job = await service.writer.patient(lambda: _note_requeue(service, caller, job.id))
    if not job.state.holds_device:
        return job  # it has ended while the store was locked
    await service.attempts.stop(job, StopReason.REQUEUE, f"requeued by {caller.user}")
    return service.store.job(job.id)


def _note_requeue(service: JobService, caller: Caller, number: int) -> Job:
    job = service.latest(number)
    if not job.state.holds_device:
        return job
    return service.writer.job(lambda store: store.note_requeue(number, caller.user))


def _begin_anew(service: JobService, caller: Caller, number: int) -> Job:
    return service.writer.job(lambda store: store.begin_anew(number, caller.user))


def _copy(
    service: JobService,
    caller: Caller,
    job: Job,
    changes: Changes,
    awaited: _Awaited,
    roots: Mapping[int, int],
) -> NewJob:
    """`roots`: the copies that were made so far. It goes on from the checkpoint of one that did
    not complete, unless it is to begin anew."""
    spec, data = service.store.spec(job.id), service.store.data(job.id)
    for one in data:
        if one.in_place is None and not service.uploads.is_here(job.uid, one.sha256):
            raise UsageError(
                f"job {job.id}: its data file {one.path} is no longer kept; submit the job again"
            )
    after, after_any, after_failed = (
        tuple(dict.fromkeys(chain(numbers, (roots[root] for root in copied))))
        for numbers, copied in zip(awaited.kinds, awaited.roots, strict=True)
    )
    asked, highest = job.demand, service.rules.priority.max_priority
    demand = replace(
        asked,
        # A higher class was an admin's to give, to that job.
        priority=asked.priority if caller.is_admin else min(asked.priority, highest),
        time_limit_seconds=changes.limit_seconds or asked.time_limit_seconds,
        exclusive=False,
        awaits=Dependencies(
            after,
            after_any,
            after_failed,
            {roots.get(key, key): group for key, group in awaited.groups.items()},
        ),
    )
    continues = None if changes.fresh or job.state is State.COMPLETED else job.id
    return NewJob(
        name=job.name,
        path=spec.path,
        source=spec.source,
        resolved=spec.resolved,
        demand=demand,
        held=changes.hold,
        retries=job.retries,
        group=job.group,
        joins=job.group_id,
        sweep_values=job.sweep_values,
        data=tuple(data),
        share=job.share,
        continues=continues,
        origin=job.root,
        finish=changes.finish,
    )
