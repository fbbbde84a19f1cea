"""Who is at the head's door: a few from each address at a time, and each for a short while only, until they have
shown the cluster's secret. Those who have are not counted any more: strangers cannot take their places."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gpujobs.cluster.sealed import CLOSING_SECONDS, MAX_LINE_BYTES, ended
from gpujobs.cluster.tls import HeadContext, words_of_the_head
from gpujobs.errors import MachineError
from gpujobs.linux.saying import say

MAX_STRANGERS = 256
MAX_FROM_ONE = 8
SHAKING_SECONDS = 10.0
PAUSE_SECONDS = 1.0
"""After an accept that failed: there may be a free descriptor then."""

SILENT_SECONDS = 60.0
"""For which nothing more is said of one address."""

MAX_TOLD = 1024
HANDSHAKE = 0x16
"""The first byte of whoever begins with TLS."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Caller"], Awaitable[None]]


class Caller:
    """`is_plain`: it has not begun with TLS where that is expected, so it is to be told so, and no more."""

    def __init__(self, peer: str, is_plain: bool, known: Callable[[], None]) -> None:
        self.peer, self.is_plain = peer, is_plain
        self.show = known
        """Called when it has shown the secret."""


class Callers:
    def __init__(self, serve: Serve, tls: Callable[[], HeadContext] | None) -> None:
        self._serve, self._tls = serve, tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._strangers: Counter[str] = Counter()
        self._told: dict[str, float] = {}

        self._socket: socket.socket | None = None

    async def open(self, address: str, port: int) -> None:
        """Raises OSError where the port is taken."""
        self._socket = socket.create_server((address, port), backlog=256)
        self._socket.setblocking(False)
        self._spawn(self._accept(self._socket))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    def tell(self, peer: str, words: str) -> None:
        """Into the log, once in a while for each address."""
        now = time.monotonic()
        if now - self._told.get(peer, -SILENT_SECONDS) < SILENT_SECONDS:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[peer] = now
        say(f"joining: {peer}: {words}")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, (peer, _) = await loop.sock_accept(listening)
            except OSError as error:
                say(f"joining: nobody can be let in: {error}")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if self._strangers[peer] >= MAX_FROM_ONE or self._strangers.total() >= MAX_STRANGERS:
                self.tell(
                    peer, f"{self._strangers[peer]} connections that have shown no token; more are closed"
                )
                connection.close()
                continue
            self._strangers[peer] += 1
            self._spawn(self._take(connection, peer))

    async def _take(self, connection: socket.socket, peer: str) -> None:
        is_stranger = True

        def known() -> None:
            nonlocal is_stranger
            if is_stranger:
                is_stranger = False
                self._strangers[peer] -= 1
                self._strangers += Counter()  # forgets the addresses that have none

        try:
            await self._let_in(connection, peer, known)
        finally:
            known()

    async def _let_in(self, connection: socket.socket, peer: str, known: Callable[[], None]) -> None:
        try:
            tls = None if self._tls is None else self._tls()
            spare = connection.dup()
        except (
            OSError,
            MachineError,
        ) as error:  # our own certificate cannot be read, or no descriptor is left
            connection.close()
            self.tell(peer, f"nobody can be let in: {error}")
            return
        try:
            async with asyncio.timeout(SHAKING_SECONDS):
                first = await _first_byte(connection) if tls is not None else HANDSHAKE
                if first is None:  # it only wanted to know whether anybody is here
                    connection.close()
                    return
                is_plain = first != HANDSHAKE
                reader, writer = await _streams(connection, None if is_plain else tls)
        except (OSError, TimeoutError) as error:
            connection.close()
            if tls is not None and isinstance(error, ssl.SSLError):
                self.tell(peer, words_of_the_head(error))
                with suppress(OSError):
                    spare.send(tls.alert)
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            spare.close()
        try:
            await self._serve(reader, writer, Caller(peer, is_plain, known))
        finally:
            await ended(writer)


async def _first_byte(connection: socket.socket) -> int | None:
    """It stays there to be read. None where the other end has closed."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    seen = b""
    with suppress(BlockingIOError):
        seen = connection.recv(1, socket.MSG_PEEK)
    return seen[0] if seen else None


async def _streams(
    connection: socket.socket, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    seconds = (None, None) if tls is None else (SHAKING_SECONDS, CLOSING_SECONDS)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol,
        connection,
        ssl=tls,
        ssl_handshake_timeout=seconds[0],
        ssl_shutdown_timeout=seconds[1],
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
