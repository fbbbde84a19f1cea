"""Who is at the head's door: a few from each address at a time, and each for a short while only, until they have
shown a certificate of the cluster, or, without TLS, its secret. Those who have are not counted any more.

Nobody can hold a place: who comes takes that of the one who has been silent there for longest. And who comes from a
port that only root may use has places of their own: so a user of a box cannot keep that box out."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from gpujobs.cluster.passes import Shown, shown_by
from gpujobs.cluster.sealed import CLOSING_SECONDS, MAX_LINE_BYTES, ended
from gpujobs.cluster.tls import HeadContext, words_of_the_head
from gpujobs.errors import MachineError
from gpujobs.linux.saying import say

MAX_STRANGERS = 256
MAX_FROM_ONE = 8
RESERVED = 1024
"""Ports below are root's, at the other end."""

SHAKING_SECONDS = 10.0
PAUSE_SECONDS = 1.0
"""After an accept that failed: there may be a free descriptor then."""

SILENT_SECONDS = 60.0
"""For which nothing more is said of one address."""

MAX_TOLD = 1024
HANDSHAKE = 0x16
"""The first byte of whoever begins with TLS."""

Origin = tuple[str, bool]
"""An address, and whether the port there is one that only root may use."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Caller"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """`is_plain`: it has not begun with TLS where that is expected, so it is to be told so, and no more. `shown`: the
    certificate that it has shown; None without TLS. `show`: called when it has shown the secret."""

    peer: str
    is_plain: bool
    show: Callable[[], None]
    shown: Shown | None = None


class Callers:
    def __init__(self, serve: Serve, tls: Callable[[], HeadContext] | None) -> None:
        self._serve, self._tls = serve, tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._strangers: defaultdict[Origin, dict[asyncio.Task[None], socket.socket | None]] = defaultdict(
            dict
        )
        """Those who have shown nothing yet, in the order in which they came; with the connections that nothing has
        been done with yet."""
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

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, (peer, port) = await loop.sock_accept(listening)
            except OSError as error:
                say(f"joining: nobody can be let in: {error}")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            origin = peer, port < RESERVED
            self._make_place(origin)
            task = self._spawn(self._let_in(connection, origin))
            task.add_done_callback(partial(self._known, origin))
            self._strangers[origin][task] = connection

    @property
    def strangers(self) -> int:
        return sum(map(len, self._strangers.values()))

    def _make_place(self, origin: Origin) -> None:
        """The longest silent goes, of this origin, or of the one that has most."""
        if len(self._strangers.get(origin, ())) < MAX_FROM_ONE:
            if self.strangers < MAX_STRANGERS:
                return
            origin = max(self._strangers, key=lambda one: len(self._strangers[one]))
        count, (silent, connection) = (
            len(self._strangers[origin]),
            next(iter(self._strangers[origin].items())),
        )
        self.tell(
            origin[0],
            f"{count} connections that have shown no token; the oldest is closed for each that comes",
        )
        self._known(origin, silent)
        silent.cancel()
        if connection is not None:  # a task that is cancelled before it has begun does nothing at all
            connection.close()

    def _known(self, origin: Origin, task: asyncio.Task[None] | None) -> None:
        """It counts as a stranger no more."""
        if task is not None and origin in self._strangers:
            self._strangers[origin].pop(task, None)
            if not self._strangers[origin]:
                del self._strangers[origin]

    async def _let_in(self, connection: socket.socket, origin: Origin) -> None:
        peer, task = origin[0], asyncio.current_task()
        known = partial(self._known, origin, task)
        assert task is not None
        self._strangers[origin][task] = None
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
        peercert = None if tls is None or is_plain else writer.get_extra_info("peercert")
        if peercert is not None:
            known()
        try:
            shown = None if peercert is None else shown_by(peercert)
            await self._serve(reader, writer, Caller(peer, is_plain, known, shown))
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
