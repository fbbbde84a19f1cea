"""`GET /v1/results`: the catalogue of what has been trained, and its files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from gpujobs.daemon.access.policy import may_read, require
from gpujobs.daemon.handlers.pieces import BATCH, listed, write
from gpujobs.daemon.handlers.query import chosen_of, flag_of
from gpujobs.daemon.jobs import partial_results
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.keeping.retention import removed_note
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.daemon.pauses import Pauses
from gpujobs.errors import MachineError, UsageError
from gpujobs.model import Caller, Job, Outline, State, iso
from gpujobs.results.catalogue import gone, list_files, open_file, read_metrics
from gpujobs.results.ranking import evaluation_lines
from gpujobs.store.reader import Reader

OPAQUE = "application/octet-stream"


async def catalogue(request: web.Request) -> web.StreamResponse:
    """With `partial`, also of jobs that have no results what they have written so far."""
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    chosen, partial = await chosen_of(request, own=flag_of(request, "own")), flag_of(request, "partial")
    if chosen is not None:
        readable = [job for job in chosen.jobs if job.id in chosen.members and may_read(caller, job)]
        for job in chosen.jobs:
            if job.id not in chosen.members or not readable:
                require(may_read, caller, job, "read the results of")
        may = {job.id for job in readable} | (set(chosen.ids) - chosen.members)
        jobs = [job for job in chosen.jobs if job.id in may]
        jobs = [job for job in jobs if _has_some(job, partial) or job.id not in chosen.members]
        for job in jobs:
            if not _has_some(job, partial):
                _require_results(job)
        named = [job for job in jobs if job.id not in chosen.members and job.results is not None]
        await asyncio.to_thread(_require_directories, named)
    else:
        jobs = await _whole(queries, await _completed(queries, caller, request.query.get("user")))
    # Their owners may have made them large, or put them on a disk that does not answer.
    whole = [job for job in jobs if job.results is not None]
    entries = {
        entry["job"]: entry for entry in await asyncio.to_thread(lambda: [_entry(job) for job in whole])
    }
    for job in jobs:
        if job.results is None:
            entries[job.id] = await _partial_entry(queries, job)
    return await write(request, listed({}, "results", [entries[job.id] for job in jobs]))


async def _completed(queries: JobQueries, caller: Caller, user: str | None) -> list[Outline]:
    def read(store: Reader) -> list[Outline]:
        ended = store.outlines(user=user, states={State.COMPLETED})
        return [job for job in ended if may_read(caller, job)]

    async with queries.apart.moment(caller.uid, queries.store) as moment:
        return await moment.read(read)


async def _whole(queries: JobQueries, outlines: Sequence[Outline]) -> list[Job]:
    """In pieces: there may be very many."""
    jobs, pauses = list[Job](), Pauses()
    for start in range(0, len(outlines), BATCH):
        jobs += queries.whole(outlines[start : start + BATCH])
        await pauses.due()
    return jobs


async def _partial_entry(queries: JobQueries, job: Job) -> dict[str, Any]:
    """A node that does not answer takes the others' results from nobody."""
    try:
        found = await partial_results.listing(queries, job)
    except MachineError as error:
        return {**_described(job, {}, ()), "unreachable": str(error)}
    now = queries.latest(job.id)
    if now.results is not None:  # it has ended meanwhile, and nothing is left there
        return await asyncio.to_thread(_entry, now)
    return _described(job, {}, found)


def _has_some(job: Job, partial: bool) -> bool:
    return job.results is not None or (partial and job.current is not None)


def _require_results(job: Job) -> str:
    if note := removed_note(job):
        raise UsageError(note)
    if job.results is None:
        raise UsageError(
            f"job {job.id} is {job.state} and has no results"
            + ("" if job.state.is_final else f"; `gpujobs wait {job.id}` waits for them")
        )
    return job.results


def _require_directories(jobs: Sequence[Job]) -> None:
    """Raises MachineError where somebody asks for what is not there any more."""
    for job in jobs:
        if why := gone(_require_results(job)):
            raise MachineError(f"the results of job {job.id} are lost: {why}")


def _entry(job: Job) -> dict[str, Any]:
    directory = _require_results(job)
    return _described(job, read_metrics(directory, job.uid), list_files(directory))


def _described(job: Job, metrics: dict[str, Any], files: Sequence[tuple[str, int]]) -> dict[str, Any]:
    return {
        "job": job.id,
        "name": job.name,
        "user": job.user,
        "group": job.group,
        "state": job.state,
        "ended_at": iso(job.ended_at),
        "directory": job.results,
        "metrics": metrics,
        "evaluation": evaluation_lines(metrics),
        "files": [{"name": name, "bytes": size} for name, size in files],
        "unreachable": None,
    }


async def file(request: web.Request) -> web.StreamResponse:
    queries = request.app[JOB_QUERIES]
    job = queries.store.job(int(request.match_info["id"]))
    require(may_read, caller_of(request), job, "read the results of")
    if job.results is None:
        return await _left(request, queries, job)
    # On a disk that does not answer, whoever asked waits, and nobody else.
    source = await asyncio.to_thread(open_file, job.results, request.match_info["file"], job.uid)
    try:
        response = _empty(request.match_info["file"])
        response.content_length = os.fstat(source.fileno()).st_size
        await response.prepare(request)
        while chunk := await asyncio.to_thread(source.read, 1 << 20):
            await response.write(chunk)
    finally:
        source.close()
    return response


def _empty(name: str) -> web.StreamResponse:
    """Nothing of what a user wrote is called text or a page; a picture is, so that pages can show it."""
    return web.StreamResponse(headers={"Content-Type": "image/png" if name.endswith(".png") else OPAQUE})


async def _left(request: web.Request, queries: JobQueries, job: Job) -> web.StreamResponse:
    name = request.match_info["file"]
    response = _empty(name)
    response.content_length = size = await partial_results.size_of(queries, job, name)
    await response.prepare(request)
    async for chunk in partial_results.content(queries, job, name, size):
        await response.write(chunk)
    return response
