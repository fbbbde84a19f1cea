"""What a job has written that has no results (yet): its log, its history so far, and the model of its last
checkpoint where it was cancelled or has run out of time. It lies on its node, which looks at it as at results."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

from gpujobs.daemon.daemon import Daemon
from gpujobs.errors import UsageError
from gpujobs.model import Job

CHUNK_BYTES = 1 << 20


async def listing(daemon: Daemon, job: Job) -> list[tuple[str, int]]:
    """(name, bytes). Raises UsageError where the job has not started."""
    answer = await daemon.link.call(_attempt(job)[0], "list_results", job=job.id, attempt=job.attempt)
    return [(str(name), int(size)) for name, size in answer]


async def size_of(daemon: Daemon, job: Job, name: str) -> int:
    """Raises UsageError where there is no such file."""
    return int((await _read(daemon, job, name, 0, 0))["size"])


async def content(daemon: Daemon, job: Job, name: str, size: int) -> AsyncIterator[bytes]:
    """The first `size` bytes: the file may be growing."""
    offset = 0
    while offset < size:
        answer = await _read(daemon, job, name, offset, min(CHUNK_BYTES, size - offset))
        piece = base64.b64decode(answer["text"])
        if not piece:
            return
        offset += len(piece)
        yield piece


async def _read(daemon: Daemon, job: Job, name: str, offset: int, limit: int) -> dict[str, Any]:
    node, attempt = _attempt(job)
    where = {"job": job.id, "attempt": attempt, "file": name}
    answer: dict[str, Any] = await daemon.link.call(node, "read_result", **where, offset=offset, limit=limit)
    return answer


def _attempt(job: Job) -> tuple[str, int]:
    if job.current is None:
        raise UsageError(f"job {job.id} is {job.state} and has not started: there is nothing of it yet")
    return job.current.node, job.attempt
