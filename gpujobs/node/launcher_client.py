"""Asking the launcher (docs/protocol.md, section 3)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gpujobs.errors import LaunchError, from_wire, in_words
from gpujobs.trainer.sockets import connect

ANSWER_SECONDS = 120.0
"""The first answer waits for the import of the backend, which a cold disk makes slow."""

RESTART_SECONDS = 20.0
"""A launcher that died is started again by the daemon meanwhile."""


async def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One request, one answer. Raises LaunchError where there is no launcher, or it refuses."""
    reader, writer = await _connect(path)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
        if not line:
            raise LaunchError(f"the launcher ended before it answered; its log is {path.with_suffix('.log')}")
        answer: dict[str, Any] = json.loads(line)
    except TimeoutError:
        raise LaunchError(f"the launcher did not answer within {ANSWER_SECONDS:g} s") from None
    except OSError as error:
        raise LaunchError(f"the launcher is gone: {in_words(error)}") from error
    finally:
        writer.close()
    if "error" in answer:
        raise from_wire(answer["error"])
    return answer


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RESTART_SECONDS
    while True:
        try:
            return await asyncio.open_unix_connection(sock=connect(path), limit=1 << 26)
        except OSError as error:
            if loop.time() > deadline:
                raise LaunchError(f"no launcher answers on {path}: {in_words(error)}") from error
            # A new launcher binds the socket anew: there is nothing to be notified by.
            await asyncio.sleep(0.05)
