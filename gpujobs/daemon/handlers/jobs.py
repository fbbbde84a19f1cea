"""`GET /v1/jobs`: the queue, job by job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from aiohttp import web

from gpujobs.daemon.handlers.pieces import batched, joined, write
from gpujobs.daemon.handlers.query import choice_of, chosen_of, flag_of, number_of
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.references import Choice, Chosen
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.model import Caller, Job, Outline, State
from gpujobs.store.reader import Reader

DISPLAY_ORDER = {State.RUNNING: 0, State.STARTING: 0, State.COMPLETING: 0, State.PENDING: 1}
"""Ended jobs come first (they are the oldest), then the running, then the waiting ones in their turn."""


async def handle(request: web.Request) -> web.StreamResponse:
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    chosen = await chosen_of(request, own=flag_of(request, "own"))
    jobs = await selected(queries, caller, request, chosen)
    total = len(jobs)
    if newest := number_of(request, "newest", 0):
        jobs = jobs[-newest:]
    limit = number_of(request, "limit", 0) or len(jobs)
    return await write(request, _parts(queries, caller, jobs[:limit], total))


def _parts(
    queries: JobQueries, caller: Caller, shown: Sequence[Job | Outline], total: int
) -> Iterator[bytes]:
    batches = map(queries.whole, batched(shown))
    return joined({"total": total}, "jobs", ([queries.json(job, caller) for job in jobs] for jobs in batches))


async def selected(
    queries: JobQueries, caller: Caller, request: web.Request, chosen: Chosen | None
) -> Sequence[Job | Outline]:
    """Those of `chosen`, or of the queue, that the conditions and `all` ask for. With `since`, what has ended
    since then too. Of what has ended there may be very much: it is outlined."""
    if chosen is not None:
        return chosen.jobs
    choice = choice_of(request)
    if not (flag_of(request, "all") or choice.since or any(state.is_final for state in choice.states)):
        return _unfinished(queries, caller, choice)

    def ended(store: Reader) -> list[Outline]:
        found = store.outlines(user=choice.user, states=choice.states, since=choice.since)
        return [job for job in found if choice.fits(caller, job)]

    async with queries.apart.moment(caller.uid, queries.store) as moment:
        unfinished = _unfinished(queries, caller, choice)
        return [*await moment.read(ended), *unfinished]


def _unfinished(queries: JobQueries, caller: Caller, choice: Choice) -> list[Job]:
    """A job that still waits or runs belongs to the picture, however long ago it was submitted."""
    now = replace(choice, since=None)
    found = [job for job in queries.cache.jobs.values() if now.matches(caller, job)]
    return sorted(found, key=lambda job: (DISPLAY_ORDER[job.state], -job.demand.priority, job.id))
