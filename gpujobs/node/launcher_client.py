"""Asking the launcher (docs/protocol.md, section 3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gpujobs.errors import LauncherError, in_words
from gpujobs.linux.logs import last_line, size_of
from gpujobs.linux.sockets import connect
from gpujobs.protocol.codec import M
from gpujobs.protocol.launcher import OPS, Op, answer_of

FIRST_ANSWER_SECONDS = 120.0
"""The first answer waits for the import of the backend, which a cold disk makes slow."""

ANSWER_SECONDS = 15.0
"""A launcher that has answered before answers within milliseconds, unless it hangs."""

RESTART_SECONDS = 20.0
"""A launcher that died is started again by the daemon meanwhile."""


class LauncherEndedError(LauncherError):
    """It has closed the connection, where one that hangs is silent."""


async def ask(path: Path, op: Op, seconds: float, kind: type[M]) -> M:
    """One request, one answer of this kind within so long. Raises LauncherError where there is no launcher
    or no answer, and what the launcher answers where it refuses."""
    reader, writer = await _connect(path)
    log = path.with_suffix(".log")
    written = size_of(log)
    try:
        writer.write(OPS.encode(op) + b"\n")
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), seconds)
        if not line:
            raise _ended(log, written)
        return answer_of(kind, line)
    except ValueError as error:
        raise LauncherError(f"the launcher's answer is not whole: {error}") from error
    except TimeoutError:
        raise LauncherError(f"the launcher did not answer within {seconds:g} s") from None
    except OSError as error:
        raise _ended(log, written) from error
    finally:
        writer.close()


def _ended(log: Path, written: int) -> LauncherEndedError:
    said = last_line(log, written)  # Python's last words are why
    return LauncherEndedError(
        f"the launcher ended before it answered{f': {said}' if said else ''}; its log is {log}"
    )


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
