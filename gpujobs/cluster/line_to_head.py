"""A box's line to the head: connected, greeted, and in words why there is none."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import ssl
from collections.abc import AsyncIterator

from gpujobs.cluster.box import Box
from gpujobs.cluster.sealed import CLOSING_SECONDS, MAX_LINE_BYTES, Sealed
from gpujobs.cluster.tls import of_a_node, words_of_a_node
from gpujobs.errors import GpujobsError, MachineError, NotPermittedError

CONNECT_SECONDS = 5.0

ROOTS_PORTS = range(600, 1024)
HUNG_UP = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)


@contextlib.asynccontextmanager
async def line_to(box: Box) -> AsyncIterator[Sealed]:
    where = f"{box.head}:{box.ports['joining']}"
    tls = None if box.tls is None else of_a_node(box.tls)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await _connected(box, tls)
    except (OSError, TimeoutError) as error:
        raise _unreachable(box, where, error) from None
    line = Sealed(reader, writer, box.token.secret, is_head=False, is_tls=tls is not None)
    try:
        try:
            await line.greet()
        except MachineError as error:
            raise _not_let_in(error.__cause__, where) or MachineError(f"{where}: {error}") from error
        except NotPermittedError as error:
            raise NotPermittedError(f"{where}: {error}") from error
        yield line
    finally:
        await line.closed()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connected(box: Box, tls: ssl.SSLContext | None) -> Streams:
    """Where a head has hung up, somebody else may be taking this box's places there: those for ports that only root
    may use are tried."""

    async def connect(local: tuple[str, int] | None) -> Streams:
        return await asyncio.open_connection(
            box.head,
            box.ports["joining"],
            limit=MAX_LINE_BYTES,
            local_addr=local,
            ssl=tls,
            ssl_shutdown_timeout=None if tls is None else CLOSING_SECONDS,
        )

    try:
        return await connect(None)
    except HUNG_UP as error:
        for port in random.sample(ROOTS_PORTS, 16) if os.geteuid() == 0 else ():
            try:
                return await connect((box.address or "0.0.0.0", port))
            except PermissionError:
                break
            except OSError as taken:
                if taken.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    raise
        raise error


def _unreachable(box: Box, where: str, error: OSError) -> GpujobsError:
    if refused := _not_let_in(error, where):
        return refused
    if isinstance(error, TimeoutError):
        why = f"nothing answers within {CONNECT_SECONDS:g} s"
    else:
        why = os.strerror(error.errno) if error.errno else (str(error) or "the connection was closed")
    return MachineError(
        f"{where} cannot be reached from here: {why}; expected the daemon of the head's box, with [cluster] listen in "
        f"its gpujobs.toml, and a firewall there that lets this box in on {box.ports.words}"
    )


def _not_let_in(error: BaseException | None, where: str) -> NotPermittedError | None:
    words = words_of_a_node(error, where) if isinstance(error, ssl.SSLError) else None
    return None if words is None else NotPermittedError(words)
