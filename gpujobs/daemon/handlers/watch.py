"""`GET /v1/watch`: jobs as they change, one JSON line each."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from gpujobs.daemon.handlers.query import chosen_of
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.daemon.pauses import Pauses

LINES_PER_SECOND = 500
"""Where thousands of jobs wait, each start changes the message of all of them."""

MOST_SECONDS = 0.5


async def handle(request: web.Request) -> web.StreamResponse:
    queries, caller, chosen = request.app[JOB_QUERIES], caller_of(request), await chosen_of(request)
    watcher = queries.watch(None if chosen is None else chosen.ids)
    # What they became while they were read, nobody tells.
    jobs = list(queries.cache.jobs.values()) if chosen is None else queries.current(chosen.jobs)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    open_jobs, pauses = {job.id for job in jobs}, Pauses()
    try:
        await response.prepare(request)
        while True:
            for job in jobs:
                await response.write(_line(queries.json(job, caller)))
                await pauses.due()
                if job.state.is_final:
                    open_jobs.discard(job.id)
            if chosen is not None and not open_jobs:
                return response
            await asyncio.sleep(min(len(jobs) / LINES_PER_SECOND, MOST_SECONDS))  # changes meanwhile are one
            changed = await watcher.changed()
            latest = queries.latest_of(changed)
            jobs, open_jobs = list(latest.values()), open_jobs - (set(changed) - latest.keys())
    except ConnectionResetError:
        return response
    finally:
        queries.unwatch(watcher)


def _line(job: dict[str, object]) -> bytes:
    return json.dumps({"job": job}, separators=(",", ":")).encode() + b"\n"
