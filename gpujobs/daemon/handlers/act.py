"""`POST /v1/jobs/cancel` and its like: changing jobs that exist."""

from __future__ import annotations

import uuid
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.access import may_change, require
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.pauses import Pauses
from gpujobs.errors import UsageError
from gpujobs.model import MAX_PRIORITY, Caller, Job, State
from gpujobs.store.store import NewJob

MAX_IDS = 100_000


class IdsBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[int] = Field(max_length=MAX_IDS)


class PriorityBody(IdsBody):
    priority: int = Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)


async def handle(request: web.Request) -> web.Response:
    """All ids are looked at before any is changed."""
    daemon, caller = daemon_of(request), caller_of(request)
    action = request.match_info["action"]
    jobs = _jobs(daemon, caller, await body_of(request, IdsBody), action)
    for job in jobs:
        _check_state(job, action)
    changed, pauses = [], Pauses()
    for job in jobs:
        changed.append(await _ACTIONS[action](daemon, caller, job))
        await pauses.due()
    return _answer(daemon, caller, changed)


async def prioritize(request: web.Request) -> web.Response:
    """`POST /v1/jobs/prioritize`: within what a job file may ask for."""
    daemon, caller = daemon_of(request), caller_of(request)
    body = await body_of(request, PriorityBody)
    jobs = _jobs(daemon, caller, body, "prioritize")
    for job in jobs:
        if job.state.is_final:
            raise UsageError(f"job {job.id} is {job.state}; only a job that has not ended has a priority")
    changed, pauses = [], Pauses()
    for job in jobs:
        changed.append(daemon.store.set_priority(job.id, body.priority, caller.user))
        daemon.board.put(changed[-1])
        await pauses.due()
    daemon.dispatcher.wake()
    return _answer(daemon, caller, changed)


def _jobs(daemon: Daemon, caller: Caller, body: IdsBody, verb: str) -> list[Job]:
    """Raises where one does not exist, or may not be changed by the caller."""
    jobs = daemon.store.jobs(list(dict.fromkeys(body.ids)))
    for job in jobs:
        require(may_change, caller, job, verb)
    return jobs


def _answer(daemon: Daemon, caller: Caller, jobs: list[Job]) -> web.Response:
    return web.json_response({"jobs": [daemon.board.json(job, caller) for job in jobs]})


def _check_state(job: Job, action: str) -> None:
    if action in ("hold", "release") and job.state is not State.PENDING:
        raise UsageError(f"job {job.id} is {job.state}; only a PENDING job can be held or released")


async def _cancel(daemon: Daemon, caller: Caller, job: Job) -> Job:
    return await daemon.cancel(job, caller.user)


async def _hold(daemon: Daemon, caller: Caller, job: Job) -> Job:
    return _set_held(daemon, caller, job, True)


async def _release(daemon: Daemon, caller: Caller, job: Job) -> Job:
    return _set_held(daemon, caller, job, False)


def _set_held(daemon: Daemon, caller: Caller, job: Job, held: bool) -> Job:
    changed = daemon.store.set_held(job.id, held, caller.user)
    daemon.board.put(changed)
    daemon.dispatcher.wake()
    return changed


async def _requeue(daemon: Daemon, caller: Caller, job: Job) -> Job:
    """A running job goes back to the queue. An ended one stays as it is, and a new job of the same user
    with the same file and data is made: results are never overwritten."""
    if job.state is State.PENDING:
        return job
    if job.state.is_final:
        (copy,) = daemon.store.submit(
            replace(caller, uid=job.uid, user=job.user, gid=daemon.store.gid(job.id)),
            f"requeue-{job.id}-{uuid.uuid4()}",
            [_copy(daemon, job)],
            actor=caller.user,
        )
        daemon.submitted([copy])
        return copy
    job = daemon.store.note_requeue(job.id, caller.user)
    daemon.board.put(job)
    await daemon.attempts.stop(job, reason="preempt")
    return daemon.store.job(job.id)


def _copy(daemon: Daemon, job: Job) -> NewJob:
    spec, data = daemon.store.spec(job.id), daemon.store.data(job.id)
    for one in data:
        if one.in_place is None and not daemon.store.has_data(job.uid, one.sha256):
            raise UsageError(
                f"job {job.id}: its data file {one.path} is no longer kept; submit the job again"
            )
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
        after=(),
        data=tuple(data),
        share=job.share,
    )


_ACTIONS = {"cancel": _cancel, "hold": _hold, "release": _release, "requeue": _requeue}
