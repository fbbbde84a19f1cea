"""Asking the launcher (docs/protocol.md, section 3)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gpujobs.errors import LauncherError, from_wire, in_words
from gpujobs.linux.sockets import connect

FIRST_ANSWER_SECONDS = 120.0
"""The first answer waits for the import of the backend, which a cold disk makes slow."""

ANSWER_SECONDS = 15.0
"""A launcher that has answered before answers within milliseconds, unless it hangs."""

RESTART_SECONDS = 20.0
"""A launcher that died is started again by the daemon meanwhile."""


async def ask(path: Path, request: dict[str, Any], seconds: float = FIRST_ANSWER_SECONDS) -> dict[str, Any]:
    """One request, one answer within so long. Raises LauncherError where there is no launcher or no answer, and
    what the launcher answers where it refuses."""
    reader, writer = await _connect(path)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), seconds)
        if not line:
            raise LauncherError(
                f"the launcher ended before it answered; its log is {path.with_suffix('.log')}"
            )
        answer: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise LauncherError(f"the launcher's answer is not whole: {error}") from error
    except TimeoutError:
        raise LauncherError(f"the launcher did not answer within {seconds:g} s") from None
    except OSError as error:
        raise LauncherError(f"the launcher is gone: {in_words(error)}") from error
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
                raise LauncherError(f"no launcher answers on {path}: {in_words(error)}") from error
            # A new launcher binds the socket anew: there is nothing to be notified by.
            await asyncio.sleep(0.05)
