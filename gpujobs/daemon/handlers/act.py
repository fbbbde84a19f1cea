"""`POST /v1/jobs/cancel` and its like: changing jobs that exist."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.access import may_change, require
from gpujobs.daemon.checks import check_waiting
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.references import Chosen, Reference, choose
from gpujobs.errors import UsageError
from gpujobs.model import MAX_PRIORITY, Caller, Job, State, StopReason
from gpujobs.policy.limits import check_priority
from gpujobs.store.records import NewJob

MAX_IDS = 100_000
BATCH = 200


class IdsBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[Reference] = Field(max_length=MAX_IDS)


class ActBody(IdsBody):
    fresh: bool = False
    """Of `requeue`: to begin anew, without a checkpoint."""


class PriorityBody(IdsBody):
    priority: int = Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)


async def handle(request: web.Request) -> web.Response:
    """All jobs are looked at before any is changed. Of a group, those are changed that can be."""
    daemon, caller = daemon_of(request), caller_of(request)
    action = request.match_info["action"]
    body = await body_of(request, ActBody)
    if body.fresh and action != "requeue":
        raise UsageError(f"fresh is for requeue; it means nothing to {action}")
    chosen = _chosen(daemon, caller, body, action)
    named = [job for job in chosen.jobs if job.id not in chosen.members]
    for job in named:
        _check_state(job, action)
    members = concerned(action, [job for job in chosen.jobs if job.id in chosen.members])
    jobs = [*named, *members]
    if body.fresh:
        changed = await _requeue(daemon, caller, jobs, fresh=True)
    else:
        changed = await _ACTIONS[action](daemon, caller, jobs)
    return _answer(daemon, caller, changed)


async def prioritize(request: web.Request) -> web.Response:
    """`POST /v1/jobs/prioritize`: within what the site allows."""
    daemon, caller = daemon_of(request), caller_of(request)
    body = await body_of(request, PriorityBody)
    check_priority(body.priority, daemon.rules.priority, is_admin=caller.is_admin)
    chosen = _chosen(daemon, caller, body, "prioritize")
    jobs = [job for job in chosen.jobs if not (job.state.is_final and job.id in chosen.members)]
    for job in jobs:
        if job.state.is_final:
            raise UsageError(f"job {job.id} is {job.state}; only a job that has not ended has a priority")
    changed = await _in_batches(
        jobs,
        lambda batch: [daemon.store.set_priority(j.id, body.priority, caller.user) for j in batch],
        daemon,
    )
    daemon.dispatcher.wake()
    return _answer(daemon, caller, changed)


def _chosen(daemon: Daemon, caller: Caller, body: IdsBody, verb: str) -> Chosen:
    """Raises where one does not exist, or may not be changed by the caller."""
    chosen = choose(daemon.store, caller, body.ids)
    for job in chosen.jobs:
        require(may_change, caller, job, verb)
    return chosen


def _answer(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> web.Response:
    return web.json_response({"jobs": [daemon.board.json(job, caller) for job in jobs]})


def _check_state(job: Job, action: str) -> None:
    if action in ("hold", "release") and job.state is not State.PENDING:
        raise UsageError(f"job {job.id} is {job.state}; only a PENDING job can be held or released")
    if action == "requeue" and job.state is State.COMPLETING:
        raise UsageError(f"job {job.id} is {job.state}; it can be queued again as soon as it has ended")


def concerned(action: str, members: Sequence[Job]) -> list[Job]:
    """The jobs of groups that an action is for; they are in the order of their ids.

    Queued again is what has ended without success, and has not been queued again already (a copy has the
    name of its original).
    """
    if action == "requeue":
        latest = {(job.group_id, job.name): job for job in members}
        return [job for job in latest.values() if job.state.is_final and job.state is not State.COMPLETED]
    if action == "cancel":
        return [job for job in members if not job.state.is_final]
    return [job for job in members if job.state is State.PENDING and job.held is (action == "release")]


async def _in_batches(
    jobs: Sequence[Job], change: Callable[[Sequence[Job]], list[Job]], daemon: Daemon
) -> list[Job]:
    """Each batch is one transaction, since a disk takes one where it takes a hundred; between them others get
    their turn."""
    changed: list[Job] = []
    for start in range(0, len(jobs), BATCH):
        with daemon.store.together():
            batch = change(jobs[start : start + BATCH])
        for job in batch:
            daemon.board.put(job)
        changed += batch
        await asyncio.sleep(0)
    return changed


async def _cancel(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    cancelled: list[Job] = []
    for start in range(0, len(jobs), BATCH):
        latest = [daemon.board.jobs.get(job.id, job) for job in jobs[start : start + BATCH]]
        waiting = [job for job in latest if job.state is State.PENDING]
        done = {job.id: job for job in daemon.cancel_waiting(waiting, caller.user)}
        cancelled += [done.get(job.id) or await daemon.cancel(job, caller.user) for job in latest]
        await asyncio.sleep(0)
    return cancelled


async def _hold(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    return await _set_held(daemon, caller, jobs, True)


async def _release(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    return await _set_held(daemon, caller, jobs, False)


async def _set_held(daemon: Daemon, caller: Caller, jobs: Sequence[Job], held: bool) -> list[Job]:
    changed = await _in_batches(
        jobs, lambda batch: [daemon.store.set_held(job.id, held, caller.user) for job in batch], daemon
    )
    daemon.dispatcher.wake()
    return changed


async def _requeue(daemon: Daemon, caller: Caller, jobs: Sequence[Job], *, fresh: bool = False) -> list[Job]:
    """An ended job stays as it is, and a new one is made; a running one goes back to the queue. In batches, for
    the same reasons as other changes."""
    new = sum(job.state.is_final for job in jobs)
    if new and not caller.is_admin:
        await daemon.membership.learn([caller.user])
        groups = daemon.membership.groups.get(caller.user, ())
        check_waiting(daemon.board.waiting_of(caller.uid), new, caller.user, groups, daemon.rules)
    requeued: list[Job] = []
    for start in range(0, len(jobs), BATCH):
        some = jobs[start : start + BATCH]
        with daemon.store.together():
            copies = {job.id: _submit_again(daemon, caller, job, fresh) for job in some if job.state.is_final}
        daemon.submitted(list(copies.values()))
        requeued += [copies.get(job.id) or await _send_back(daemon, caller, job, fresh) for job in some]
        await asyncio.sleep(0)
    return requeued


def _submit_again(daemon: Daemon, caller: Caller, job: Job, fresh: bool) -> Job:
    """As a new job of the same user with the same file and data: results are never overwritten. It goes on from
    the checkpoint of one that did not complete, unless it is to begin anew."""
    (copy,) = daemon.store.submit(
        replace(caller, uid=job.uid, user=job.user, gid=daemon.store.gid(job.id)),
        f"requeue-{job.id}-{uuid.uuid4()}",
        [_copy(daemon, caller, job, fresh)],
        actor=caller.user,
    )
    return copy


async def _send_back(daemon: Daemon, caller: Caller, job: Job, fresh: bool) -> Job:
    if fresh:
        job = daemon.store.begin_anew(job.id, caller.user)
        daemon.board.put(job)
    if job.state is State.PENDING:
        return job
    job = daemon.store.note_requeue(job.id, caller.user)
    daemon.board.put(job)
    await daemon.attempts.stop(job, StopReason.REQUEUE, f"requeued by {caller.user}")
    return daemon.store.job(job.id)


def _copy(daemon: Daemon, caller: Caller, job: Job, fresh: bool) -> NewJob:
    spec, data = daemon.store.spec(job.id), daemon.store.data(job.id)
    for one in data:
        if one.in_place is None and not daemon.uploads.is_here(job.uid, one.sha256):
            raise UsageError(
                f"job {job.id}: its data file {one.path} is no longer kept; submit the job again"
            )
    return NewJob(
        name=job.name,
        path=spec.path,
        source=spec.source,
        resolved=spec.resolved,
        # A higher class was an admin's to give, to that job.
        priority=job.priority if caller.is_admin else min(job.priority, daemon.rules.priority.max_priority),
        held=False,
        retries=job.retries,
        requested_gpu=job.requested_gpu,
        time_limit_seconds=job.time_limit_seconds,
        group=job.group,
        joins=job.group_id,
        sweep_values=job.sweep_values,
        after=(),
        data=tuple(data),
        share=job.share,
        gpu_memory=job.gpu_memory,
        estimate_bytes=job.estimate_bytes,
        family=job.family,
        preemptible=job.preemptible,
        continues=None if fresh or job.state is State.COMPLETED else job.id,
    )


_ACTIONS = {"cancel": _cancel, "hold": _hold, "release": _release, "requeue": _requeue}
