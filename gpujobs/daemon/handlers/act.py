"""`POST /v1/jobs/cancel` and its like: changing jobs that exist."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.identity import require_owner
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.references import Reference, choose
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, State
from gpujobs.store.store import NewJob


class IdsBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[Reference]


async def handle(request: web.Request) -> web.Response:
    """All jobs are looked at before any is changed. Of a group, those are changed that can be."""
    daemon, caller = daemon_of(request), caller_of(request)
    action = request.match_info["action"]
    body = await body_of(request, IdsBody)
    chosen = choose(daemon.store, caller, body.ids)
    for job in chosen.jobs:
        require_owner(caller, job, action)
    named = [job for job in chosen.jobs if job.id not in chosen.members]
    for job in named:
        _check_state(job, action)
    members = concerned(action, [job for job in chosen.jobs if job.id in chosen.members])
    changed = await _ACTIONS[action](daemon, caller, [*named, *members])
    return web.json_response({"jobs": [daemon.board.json(job, caller) for job in changed]})


def _check_state(job: Job, action: str) -> None:
    if action in ("hold", "release") and job.state is not State.PENDING:
        raise UsageError(f"job {job.id} is {job.state}; only a PENDING job can be held or released")


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


async def _cancel(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    waiting = [job for job in jobs if job.state is State.PENDING]
    cancelled = {job.id: job for job in daemon.cancel_waiting(waiting, caller.user)}
    return [cancelled.get(job.id) or await daemon.cancel(job, caller.user) for job in jobs]


async def _hold(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    return _set_held(daemon, caller, jobs, True)


async def _release(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    return _set_held(daemon, caller, jobs, False)


def _set_held(daemon: Daemon, caller: Caller, jobs: Sequence[Job], held: bool) -> list[Job]:
    with daemon.store.together():
        changed = [daemon.store.set_held(job.id, held, caller.user) for job in jobs]
    for job in changed:
        daemon.board.put(job)
    daemon.dispatcher.wake()
    return changed


async def _requeue(daemon: Daemon, caller: Caller, jobs: Sequence[Job]) -> list[Job]:
    return [await _requeue_one(daemon, caller, job) for job in jobs]


async def _requeue_one(daemon: Daemon, caller: Caller, job: Job) -> Job:
    """A running job goes back to the queue. An ended one stays as it is, and a new job with the same
    file and data is made: results are never overwritten."""
    if job.state is State.PENDING:
        return job
    if job.state.is_final:
        (copy,) = daemon.store.submit(
            replace(caller, uid=job.uid, user=job.user, gid=daemon.store.gid(job.id)),
            f"requeue-{job.id}-{uuid.uuid4()}",
            [_copy(daemon, job)],
        )
        daemon.submitted([copy])
        return copy
    await daemon.attempts.stop(job, reason="preempt")
    return daemon.store.job(job.id)


def _copy(daemon: Daemon, job: Job) -> NewJob:
    spec = daemon.store.spec(job.id)
    return NewJob(
        name=job.name,
        path=spec.path,
        source=spec.source,
        resolved=spec.resolved,
        priority=job.priority,
        held=False,
        retries=job.retries,
        requested_gpu=job.requested_gpu,
        time_limit_seconds=job.time_limit_seconds,
        group=job.group,
        joins=job.group_id,
        sweep_values=job.sweep_values,
        after=(),
        data=tuple(daemon.store.data(job.id)),
    )


_ACTIONS = {"cancel": _cancel, "hold": _hold, "release": _release, "requeue": _requeue}
