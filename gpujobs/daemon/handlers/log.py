"""`GET /v1/jobs/ID/log`: what an attempt has printed, and what it prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from gpujobs.daemon.access.policy import may_read, require
from gpujobs.daemon.handlers.query import flag_of, number_of
from gpujobs.daemon.jobs.cache import Watcher
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.keeping.retention import removed_note
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.errors import UsageError
from gpujobs.model import Attempt, Job, State
from gpujobs.protocol.instructions import ReadLog
from gpujobs.results.catalogue import open_file

CHUNK_BYTES = 1 << 20


async def handle(request: web.Request) -> web.StreamResponse:
    queries = request.app[JOB_QUERIES]
    job = queries.store.job(int(request.match_info["id"]))
    require(may_read, caller_of(request), job, "read the log of")
    number, tail = number_of(request, "attempt"), number_of(request, "tail")
    follow = flag_of(request, "follow")
    if number is not None and not 1 <= number <= job.attempt:
        had = f"attempts 1 to {job.attempt}" if job.attempt else "no attempt yet"
        raise UsageError(f"job {job.id} has {had}, not attempt {number}")
    if note := removed_note(job) or queries.store.note_of_removal(job.id, "logs"):
        raise UsageError(note)
    watcher = queries.watch([job.id])  # before anything is awaited: nobody tells of what was before it
    try:
        if job.attempt:
            await Log.of(queries, job, number).read(0, 0)  # what is wrong is said before the answer begins
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # whoever followed has left
            async for chunk in _chunks(queries, job, watcher if follow else None, number, tail):
                await response.write(chunk)
        return response
    finally:
        queries.unwatch(watcher)


@dataclass(frozen=True, slots=True)
class Log:
    """The log of an attempt: collected with the results, or still on its node."""

    queries: JobQueries
    job: Job
    attempt: Attempt

    @classmethod
    def of(cls, queries: JobQueries, job: Job, number: int | None) -> Log:
        return cls(queries, job, queries.store.attempts(job.id)[(number or job.attempt) - 1])

    async def read(self, offset: int, limit: int = CHUNK_BYTES) -> tuple[bytes, int]:
        """At most `limit` bytes from `offset`, and the present size. Raises UsageError where it is gone."""
        job = self.job
        if job.results is None:
            asked = ReadLog(job.id, self.attempt.number, offset, limit)
            piece = await self.queries.link.call(self.attempt.node, asked)
            job = self.queries.latest(job.id)
            if job.results is None:
                return piece.content, piece.size
        # Also where it has completed while its node was asked, on which nothing may have been left by then.
        name = "log.txt" if self.attempt.number == job.attempt else f"log-{self.attempt.number}.txt"
        # On a disk that does not answer, whoever asked waits, and nobody else.
        return await asyncio.to_thread(_piece, job.results, name, job.uid, offset, limit)

    async def tail_offset(self, lines: int) -> int:
        """Where the last `lines` lines begin, read from the end, so that a long log is never in memory."""
        _, end = await self.read(0, 0)
        if lines == 0:
            return end
        position, missing = end, lines
        while position > 0:
            start = max(0, position - CHUNK_BYTES)
            block, _ = await self.read(start, position - start)
            # The newline at the very end closes the last line; it begins none.
            at = len(block) - 1 if position == end and block.endswith(b"\n") else len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                missing -= 1
                if missing == 0:
                    return start + at + 1
            position = start
        return 0

    @property
    def has_ended(self) -> bool:
        return self.job.attempt > self.attempt.number or self.job.state not in (State.STARTING, State.RUNNING)


def _piece(results: str, name: str, uid: int, offset: int, limit: int) -> tuple[bytes, int]:
    with open_file(results, name, uid) as file:
        size = file.seek(0, 2)
        file.seek(offset)
        return file.read(limit), size


async def _chunks(
    queries: JobQueries, job: Job, following: Watcher | None, number: int | None, tail: int | None
) -> AsyncIterator[bytes]:
    """`following`: who tells of the job's changes, where it is followed to its end."""
    while job.attempt == 0 and following and not job.state.is_final:
        await following.changed()
        job = queries.latest(job.id)
    if job.attempt == 0:
        return
    log = Log.of(queries, job, number)
    offset = 0 if tail is None else await log.tail_offset(tail)
    while True:
        while chunk := (await log.read(offset))[0]:
            offset += len(chunk)
            yield chunk
        if log.has_ended or not following:
            return
        await following.changed()
        log = Log(queries, queries.latest(job.id), log.attempt)
