"""One try to tell one recipient: a program of its own, which takes the identity of whoever is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from gpujobs import failpoints
from gpujobs.errors import LaunchError
from gpujobs.protocol import codec
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.news import Delivery, Outcome

PROGRAM = (sys.executable, "-P", "-m", "gpujobs.supervise.delivery")
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)

GRACE_SECONDS = 30.0
"""Beyond the try's own time, for the program's start and for what it has to kill."""

KILL_SECONDS = 10.0

ANSWER_MAX_BYTES = 1 << 16


async def _end(process: asyncio.subprocess.Process) -> None:
    """It kills what it has started first."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), KILL_SECONDS)


async def deliver(order: Delivery) -> Outcome:
    """Where this is cancelled, the program is ended. Raises LaunchError where it cannot be started."""
    environment = {key: os.environ[key] for key in KEPT if key in os.environ} | failpoints.inherited()
    try:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"the program that tells news cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(order.timeout_seconds + GRACE_SECONDS):
            answer, _ = await process.communicate(codec.encode(order))
    except TimeoutError:
        return Outcome(False, True, "the program that tells news hangs; it was ended")
    finally:
        await _end(process)
    try:
        return codec.parse(Outcome, answer[:ANSWER_MAX_BYTES])
    except ShapeError:
        return Outcome(False, True, f"the program that tells news has ended with status {process.returncode}")
