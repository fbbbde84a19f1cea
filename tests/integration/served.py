"""A daemon of these tests' own that serves a directory, without Ray."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any, Self

from gpujobs.client import Client, connect
from gpujobs.client.connection import UnixConnection
from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.server import door_of, serving


class Served:
    """In a thread of this process; it can be ended and started again. `prepare`: what is done to its parts before
    anybody can ask it."""

    def __init__(self, settings: Settings, prepare: Callable[[Parts], Any] = lambda _: None) -> None:
        self.settings = settings
        self.daemon: Parts
        self._prepare = prepare

    def __enter__(self) -> Self:
        self._ended, self._ready = asyncio.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.settings.socket.unlink(missing_ok=True)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.daemon = build(self.settings)
        self._prepare(self.daemon)
        door = door_of(self.daemon)
        async with serving(self.daemon, door):
            self._ready.set()
            await self._ended.wait()
            door.close()
        await Daemon(self.daemon).close()

    def on_loop(self, work: Callable[[Parts], Any]) -> Any:
        async def call() -> Any:
            return work(self.daemon)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(30)

    def asked(self, method: str, path: str) -> Any:
        """Over the socket, as whoever calls."""
        with closing(UnixConnection(self.settings.socket)) as connection:
            connection.request(method, path, b"{}" if method == "POST" else None)
            return json.loads(connection.getresponse().read())


def while_served(settings: Settings, work: Callable[[Client, Parts], Any]) -> Any:
    """`work` in a thread, with a client of a daemon that has looked at what is there. No device: all jobs wait."""

    async def serve() -> Any:
        daemon = build(settings)
        daemon.lacking.look()
        async with serving(daemon, door_of(daemon)):

            def ask() -> Any:
                client = connect([settings.socket])
                try:
                    return work(client, daemon)
                finally:
                    client.close()

            done = await asyncio.to_thread(ask)
        daemon.store.close()
        settings.socket.unlink(missing_ok=True)
        return done

    return asyncio.run(serve())
