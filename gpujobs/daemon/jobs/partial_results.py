"""What a job has written that has no results (yet): its log, its history so far, and the model of its last
checkpoint where it was cancelled or has run out of time. It lies on its node, which looks at it as at results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.errors import UsageError
from gpujobs.model import Job
from gpujobs.node.pieces import piece_of
from gpujobs.protocol.instructions import ListResults, Piece, ReadResult
from gpujobs.results.catalogue import open_file

CHUNK_BYTES = 1 << 20


async def listing(queries: JobQueries, job: Job) -> list[tuple[str, int]]:
    """(name, bytes). Raises UsageError where the job has not started."""
    answer = await queries.link.call(_attempt(job)[0], ListResults(job.id, job.attempt))
    return [(file.name, file.bytes) for file in answer.files]


async def size_of(queries: JobQueries, job: Job, name: str) -> int:
    """Raises UsageError where there is no such file."""
    return (await _read(queries, job, name, 0, 0)).size


async def content(queries: JobQueries, job: Job, name: str, size: int) -> AsyncIterator[bytes]:
    """The first `size` bytes: the file may be growing."""
    offset = 0
    while offset < size:
        piece = (await _read(queries, job, name, offset, min(CHUNK_BYTES, size - offset))).content
        if not piece:
            return
        offset += len(piece)
        yield piece


async def _read(queries: JobQueries, job: Job, name: str, offset: int, limit: int) -> Piece:
    node, attempt = _attempt(job)
    try:
        found = await queries.link.call(node, ReadResult(job.id, attempt, name, offset, limit))
    except UsageError:
        if queries.latest(job.id).results is None:
            raise
    if (results := queries.latest(job.id).results) is None:
        return found
    # It has ended while its node was asked, on which nothing may have been left by then.
    return await asyncio.to_thread(_collected, results, name, job.uid, offset, limit)


def _collected(results: str, name: str, owner: int, offset: int, limit: int) -> Piece:
    """Raises UsageError where there is no such file."""
    with open_file(results, name, owner) as file:
        return piece_of(file, offset, limit)


def _attempt(job: Job) -> tuple[str, int]:
    if job.current is None:
        raise UsageError(f"job {job.id} is {job.state} and has not started: there is nothing of it yet")
    return job.current.node, job.attempt
