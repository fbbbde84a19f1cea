"""`POST /v1/jobs/cancel` and its like: changing jobs that exist."""

from __future__ import annotations

import uuid
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.identity import require_owner
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, State, StopReason
from gpujobs.store.store import NewJob


class IdsBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[int]


async def handle(request: web.Request) -> web.Response:
    """All ids are looked at before any is changed."""
    daemon, caller = daemon_of(request), caller_of(request)
    action = request.match_info["action"]
    body = await body_of(request, IdsBody)
    jobs = daemon.store.jobs(list(dict.fromkeys(body.ids)))
    for job in jobs:
        require_owner(caller, job, action)
        _check_state(job, action)
    changed = [await _ACTIONS[action](daemon, caller, job) for job in jobs]
    return web.json_response({"jobs": [daemon.board.json(job) for job in changed]})


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
    await daemon.attempts.stop(job, StopReason.REQUEUE, f"requeued by {caller.user}")
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
        after=(),
        data=tuple(daemon.store.data(job.id)),
    )


_ACTIONS = {"cancel": _cancel, "hold": _hold, "release": _release, "requeue": _requeue}
