"""`GET /v1/watch`: jobs as they change, one JSON line each."""

from __future__ import annotations

import json

from aiohttp import web

from gpujobs.daemon.handlers.query import ids_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.pauses import Pauses
from gpujobs.model import Job


async def handle(request: web.Request) -> web.StreamResponse:
    daemon, caller, ids = daemon_of(request), caller_of(request), ids_of(request)
    jobs = daemon.store.jobs(ids) if ids is not None else list(daemon.board.jobs.values())
    watcher = daemon.board.watch(None if ids is None else frozenset(ids))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    open_jobs, pauses = {job.id for job in jobs}, Pauses()
    try:
        await response.prepare(request)
        while True:
            for job in jobs:
                await response.write(_line(daemon.board.json(job, caller)))
                await pauses.due()
                if job.state.is_final:
                    open_jobs.discard(job.id)
            if ids is not None and not open_jobs:
                return response
            jobs = [_latest(request, number) for number in await watcher.changed()]
    except ConnectionResetError:
        return response
    finally:
        daemon.board.unwatch(watcher)


def _latest(request: web.Request, job: int) -> Job:
    daemon = daemon_of(request)
    return daemon.board.jobs.get(job) or daemon.store.job(job)


def _line(job: dict[str, object]) -> bytes:
    return json.dumps({"job": job}, separators=(",", ":")).encode() + b"\n"
