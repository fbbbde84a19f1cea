"""`GET /v1/jobs`: the queue, job by job."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from aiohttp import web

from gpujobs.daemon.handlers.query import choice_of, chosen_of, flag_of, number_of
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.references import Chosen
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.daemon.pauses import Pauses
from gpujobs.model import Caller, Job, Outline, State

DISPLAY_ORDER = {State.RUNNING: 0, State.STARTING: 0, State.COMPLETING: 0, State.PENDING: 1}
"""Ended jobs come first (they are the oldest), then the running, then the waiting ones in their turn."""


BATCH = 200
"""Jobs written at a time."""


async def handle(request: web.Request) -> web.StreamResponse:
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    jobs = selected(queries, caller, request, chosen_of(request, own=flag_of(request, "own")))
    total = len(jobs)
    if newest := number_of(request, "newest", 0):
        jobs = jobs[-newest:]
    limit = number_of(request, "limit", 0) or len(jobs)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    pauses = Pauses()
    for part in _parts(queries, caller, jobs[:limit], total):
        await response.write(part)
        await pauses.due()
    return response


def _parts(
    queries: JobQueries, caller: Caller, shown: Sequence[Job | Outline], total: int
) -> Iterator[bytes]:
    """`{"total", "jobs"}` in pieces: nobody's long list is in memory as a whole."""
    yield f'{{"total": {total}, "jobs": ['.encode()
    between = ""
    for start in range(0, len(shown), BATCH):
        jobs = queries.whole(shown[start : start + BATCH])
        if jobs:
            yield (between + ", ".join(json.dumps(queries.json(job, caller)) for job in jobs)).encode()
            between = ", "
    yield b"]}"


def selected(
    queries: JobQueries, caller: Caller, request: web.Request, chosen: Chosen | None
) -> Sequence[Job | Outline]:
    """Those of `chosen`, or of the queue, that the conditions and `all` ask for. With `since`, what has ended
    since then too. Of what has ended there may be very much: it is outlined."""
    if chosen is not None:
        return chosen.jobs
    choice = choice_of(request)
    # A job that still waits or runs belongs to the picture, however long ago it was submitted.
    now = replace(choice, since=None)
    unfinished = [job for job in queries.cache.jobs.values() if now.matches(caller, job)]
    unfinished.sort(key=lambda job: (DISPLAY_ORDER[job.state], -job.demand.priority, job.id))
    has_ended = flag_of(request, "all") or choice.since or any(state.is_final for state in choice.states)
    if not has_ended:
        return unfinished
    ended = queries.store.outlines(user=choice.user, states=choice.states, since=choice.since)
    return [*(job for job in ended if choice.fits(caller, job)), *unfinished]
