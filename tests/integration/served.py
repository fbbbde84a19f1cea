"""A daemon of these tests' own that serves a directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.config.settings import Settings
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.server import door_of, serving


def while_served(settings: Settings, work: Callable[[Client, Daemon], Any]) -> Any:
    """`work` in a thread, with a client of a daemon that has looked at what is there. No device: all jobs wait."""

    async def serve() -> Any:
        daemon = Daemon(settings)
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
