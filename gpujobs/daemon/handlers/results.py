"""`GET /v1/results`: the catalogue of what has been trained, and its files."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gpujobs.daemon.access import may_read, require
from gpujobs.daemon.handlers.query import chosen_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.retention import removed_note
from gpujobs.errors import UsageError
from gpujobs.model import Job, State, iso
from gpujobs.results.catalogue import list_files, open_file, read_metrics


async def catalogue(request: web.Request) -> web.Response:
    daemon, caller = daemon_of(request), caller_of(request)
    chosen = chosen_of(request)
    if chosen is not None:
        jobs = [job for job in chosen.jobs if job.results is not None or job.id not in chosen.members]
        for job in chosen.jobs:
            require(may_read, caller, job, "read the results of")
        for job in jobs:
            _require_results(job)
    else:
        ended = daemon.store.ended(user=request.query.get("user"), states={State.COMPLETED})
        jobs = [job for job in ended if may_read(caller, job)]
    # Their owners may have made them large, or put them on a disk that does not answer.
    entries = await asyncio.to_thread(lambda: [_entry(job) for job in jobs])
    return web.json_response({"results": entries})


def _require_results(job: Job) -> str:
    if note := removed_note(job):
        raise UsageError(note)
    if job.results is None:
        raise UsageError(
            f"job {job.id} is {job.state} and has no results"
            + ("" if job.state.is_final else f"; `gpujobs wait {job.id}` waits for them")
        )
    return job.results


def _entry(job: Job) -> dict[str, Any]:
    directory = _require_results(job)
    return {
        "job": job.id,
        "name": job.name,
        "user": job.user,
        "group": job.group,
        "ended_at": iso(job.ended_at),
        "directory": directory,
        "metrics": read_metrics(directory, job.uid),
        "files": [{"name": name, "bytes": size} for name, size in list_files(directory)],
    }


async def file(request: web.Request) -> web.StreamResponse:
    daemon = daemon_of(request)
    job = daemon.store.job(int(request.match_info["id"]))
    require(may_read, caller_of(request), job, "read the results of")
    with open_file(_require_results(job), request.match_info["file"], job.uid) as source:
        response = web.StreamResponse()
        response.content_length = source.seek(0, 2)
        source.seek(0)
        await response.prepare(request)
        while chunk := source.read(1 << 20):
            await response.write(chunk)
    return response
