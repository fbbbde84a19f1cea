"""`GET /v1/watch`: jobs as they change, one JSON line each."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from gpujobs.daemon.handlers.query import chosen_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.pauses import Pauses
from gpujobs.model import Job

LINES_PER_SECOND = 500
"""Where thousands of jobs wait, each start changes the message of all of them."""

MOST_SECONDS = 0.5


async def handle(request: web.Request) -> web.StreamResponse:
    daemon, caller, chosen = daemon_of(request), caller_of(request), chosen_of(request)
    jobs = chosen.jobs if chosen is not None else list(daemon.board.jobs.values())
    watcher = daemon.board.watch(None if chosen is None else frozenset(chosen.ids))
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
            if chosen is not None and not open_jobs:
                return response
            await asyncio.sleep(min(len(jobs) / LINES_PER_SECOND, MOST_SECONDS))  # changes meanwhile are one
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
