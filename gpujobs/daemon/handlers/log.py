"""`GET /v1/jobs/ID/log`: what an attempt has printed, and what it prints."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

from aiohttp import web

from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import flag_of, number_of
from gpujobs.daemon.identity import require_owner
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.errors import UsageError
from gpujobs.model import Attempt, Job, State

CHUNK_BYTES = 1 << 20


async def handle(request: web.Request) -> web.StreamResponse:
    daemon = daemon_of(request)
    job = daemon.store.job(int(request.match_info["id"]))
    require_owner(caller_of(request), job, "read the log of")
    number, tail = number_of(request, "attempt"), number_of(request, "tail")
    follow = flag_of(request, "follow")
    if number is not None and not 1 <= number <= job.attempt:
        had = f"attempts 1 to {job.attempt}" if job.attempt else "no attempt yet"
        raise UsageError(f"job {job.id} has {had}, not attempt {number}")
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    skip_lines = None if tail is None else tail
    try:
        async for chunk in _chunks(daemon, job, number, follow, skip_lines):
            await response.write(chunk)
    except ConnectionResetError:
        pass  # whoever followed has left
    return response


async def _chunks(
    daemon: Daemon, job: Job, number: int | None, follow: bool, tail: int | None
) -> AsyncIterator[bytes]:
    watcher = daemon.board.watch(frozenset({job.id}))
    try:
        while job.attempt == 0 and follow and not job.state.is_final:
            await watcher.changed()
            job = _latest(daemon, job)
        if job.attempt == 0:
            return
        attempt = daemon.store.attempts(job.id)[(number or job.attempt) - 1]
        offset = 0
        if tail is not None:
            text = b"".join([part async for part in _read(daemon, job, attempt, 0)])
            offset = len(text)
            yield b"".join(text.splitlines(keepends=True)[-tail:] if tail else [])
        while True:
            ended = _has_ended(job, attempt)
            async for part in _read(daemon, job, attempt, offset):
                offset += len(part)
                yield part
            if ended or not follow:
                return
            await watcher.changed()
            job = _latest(daemon, job)
    finally:
        daemon.board.unwatch(watcher)


def _latest(daemon: Daemon, job: Job) -> Job:
    return daemon.board.jobs.get(job.id) or daemon.store.job(job.id)


def _has_ended(job: Job, attempt: Attempt) -> bool:
    return job.attempt > attempt.number or job.state not in (State.STARTING, State.RUNNING)


async def _read(daemon: Daemon, job: Job, attempt: Attempt, offset: int) -> AsyncIterator[bytes]:
    """From `offset` to the present end: of the collected file, or else of the node's."""
    if job.results is not None:
        name = "log.txt" if attempt.number == job.attempt else f"log-{attempt.number}.txt"
        path = daemon.paths.result(job.id) / name
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
        return
    while True:
        answer = await daemon.link.call(
            attempt.node, "read_log", job=job.id, attempt=attempt.number, offset=offset, limit=CHUNK_BYTES
        )
        chunk = base64.b64decode(answer["text"])
        if not chunk:
            return
        offset = answer["offset"]
        yield chunk
