"""The door: accepts connections, so many of each user at once, and lets few of their requests in together.

A user who opens a thousand connections, or asks for long lists again and again, waits for himself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable

from aiohttp import web

from gpujobs.daemon.access.identity import peer_of, user_name
from gpujobs.errors import NotPermittedError

RETRY_ACCEPT_SECONDS = 1.0
"""Where this process has no descriptor left for another connection."""

REQUESTS_AT_ONCE = 4
"""Of one user, of those that cost memory or time: each may hold a body of the largest size."""

log = logging.getLogger(__name__)


class ConnectionLimit:
    """`protocol` makes the handler of a connection. `per_user` None: everybody is the daemon's own user.
    `uid_of`: whose it is; None is not counted."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        per_user: int | None,
        uid_of: Callable[[socket.socket], int | None] = lambda connection: peer_of(connection).uid,
    ) -> None:
        self._protocol = protocol
        self._per_user = per_user
        self._uid_of = uid_of
        self._open: dict[int, list[socket.socket]] = {}
        self._listener: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    async def admit(self, listener: socket.socket) -> None:
        """Accepts what comes here from now on, and closes the listener before it; its connections stay."""
        await self.close()
        self._listener = listener
        self._task = asyncio.create_task(self._run(listener))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    async def _run(self, listener: socket.socket) -> None:
        while True:
            await self._accept_or_wait(listener)

    async def _accept_or_wait(self, listener: socket.socket) -> None:
        try:
            await self._accept(listener)
        except Exception as error:  # noqa: BLE001 - one connection must not close the door to the others
            log.warning("a connection could not be accepted: %r", error)
            await asyncio.sleep(RETRY_ACCEPT_SECONDS)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        try:
            if self._has_room(connection):
                await loop.connect_accepted_socket(self._protocol, connection)
        except BaseException:
            connection.close()
            raise

    def _has_room(self, connection: socket.socket) -> bool:
        uid = self._uid_of(connection)
        if self._per_user is None or uid is None or uid == os.geteuid():
            return True
        # A socket that the event loop has closed has no descriptor any more.
        alive = [one for one in self._open.get(uid, ()) if one.fileno() >= 0]
        if len(alive) >= self._per_user:
            refuse(connection, f"{user_name(uid)} has {len(alive)} connections open, as many as one user may")
            return False
        self._open[uid] = [*alive, connection]
        return True


def refuse(connection: socket.socket, message: str) -> None:
    """Answers before anything was asked, and closes."""
    body = json.dumps(NotPermittedError(message).to_wire()).encode()
    head = f"HTTP/1.1 429 Too Many Requests\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with connection:
        try:
            connection.setblocking(False)
            connection.send(head.encode() + body)
        except OSError:
            return  # whoever it was does not listen


class RequestLimiter:
    """How many requests of one user are worked on at the same time."""

    def __init__(self) -> None:
        self._of: defaultdict[int, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(REQUESTS_AT_ONCE)
        )

    async def take(self, uid: int, handle: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        async with self._of[uid]:
            return await handle()
