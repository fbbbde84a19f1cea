"""`GET /v1/jobs` and `GET /v1/jobs/ID`: the queue, and everything about one job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

from aiohttp import web

from gpujobs.daemon.access.policy import may_look_into, require
from gpujobs.daemon.api_json import attempt_json, event_json
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import choice_of, chosen_of, flag_of, number_of
from gpujobs.daemon.jobs.references import Chosen
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.pauses import Pauses
from gpujobs.model import Caller, Job, State, iso
from gpujobs.results.catalogue import read_metrics
from gpujobs.results.ranking import lines

DISPLAY_ORDER = {State.RUNNING: 0, State.STARTING: 0, State.COMPLETING: 0, State.PENDING: 1}
"""Ended jobs come first (they are the oldest), then the running, then the waiting ones in their turn."""


BATCH = 200
"""Jobs written at a time."""


async def list_jobs(request: web.Request) -> web.StreamResponse:
    daemon, caller = daemon_of(request), caller_of(request)
    jobs = selected(daemon, caller, request, chosen_of(request, own=flag_of(request, "own")))
    limit = number_of(request, "limit", 0) or len(jobs)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    pauses = Pauses()
    for part in _parts(daemon, caller, jobs[:limit], len(jobs)):
        await response.write(part)
        await pauses.due()
    return response


def _parts(daemon: Daemon, caller: Caller, shown: list[Job], total: int) -> Iterator[bytes]:
    """`{"total", "jobs"}` in pieces: nobody's long list is in memory as a whole."""
    yield f'{{"total": {total}, "jobs": ['.encode()
    for start in range(0, len(shown), BATCH):
        batch = [json.dumps(daemon.board.json(job, caller)) for job in shown[start : start + BATCH]]
        yield ((", " if start else "") + ", ".join(batch)).encode()
    yield b"]}"


def selected(daemon: Daemon, caller: Caller, request: web.Request, chosen: Chosen | None) -> list[Job]:
    """Those of `chosen`, or of the queue, that the conditions and `all` ask for. With `since`, what has ended
    since then too."""
    if chosen is not None:
        return chosen.jobs
    choice = choice_of(request)
    # A job that still waits or runs belongs to the picture, however long ago it was submitted.
    now = replace(choice, since=None)
    unfinished = [job for job in daemon.board.jobs.values() if now.matches(caller, job)]
    unfinished.sort(key=lambda job: (DISPLAY_ORDER[job.state], -job.demand.priority, job.id))
    has_ended = flag_of(request, "all") or choice.since or any(state.is_final for state in choice.states)
    if not has_ended:
        return unfinished
    ended = daemon.store.ended(user=choice.user, states=choice.states)
    return [job for job in ended if choice.matches(caller, job)] + unfinished


def _evaluation(job: Job) -> list[str]:
    """How good its model is, in the data's own units; its user may have made the file large, or slow to read."""
    return [] if job.results is None else lines(read_metrics(job.results, job.uid))


async def show(request: web.Request) -> web.Response:
    """Not for everybody: a job file may say more than its user wants to be known."""
    daemon, caller = daemon_of(request), caller_of(request)
    job = daemon.store.job(int(request.match_info["id"]))
    require(may_look_into, caller, job, "look into")
    if job.state is State.PENDING:
        await daemon.forecast.fresh()
    spec, asked = daemon.store.spec(job.id), job.demand
    evaluation = await asyncio.to_thread(_evaluation, job)
    return web.json_response(
        {
            "job": daemon.board.json(job, caller),
            "time_limit_seconds": asked.time_limit_seconds,
            "begin_at": iso(asked.begin_at),
            "after": list(asked.awaits.after),
            "after_any": list(asked.awaits.after_any),
            "after_failed": list(asked.awaits.after_failed),
            "after_groups": sorted(set(asked.awaits.groups.values())),
            "origin": job.origin,
            "at_most": asked.at_most,
            "finish": job.finish,
            "gpu_memory": asked.gpu_memory,
            "preemptible": asked.preemptible,
            "retries": job.retries,
            "retries_used": job.retries_used,
            "path": spec.path,
            "evaluation": evaluation,
            "spec": spec.resolved,
            "source": spec.source,
            "attempts": [attempt_json(attempt) for attempt in daemon.store.attempts(job.id)],
            "events": [event_json(event) for event in daemon.store.events(job.id)],
            "data": [
                {"path": d.path, "sha256": d.sha256, "bytes": d.bytes, "in_place": d.in_place}
                for d in daemon.store.data(job.id)
            ],
        }
    )
