"""The reading requests, answered from the files of a daemon that does not run: by the same handlers, in the process
of whoever asks, for the owner of the state directory alone. Nothing is written.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from gpujobs.config.settings import Settings
from gpujobs.config.site import SiteConfig
from gpujobs.daemon import server
from gpujobs.daemon.access.connections import RequestLimiter
from gpujobs.daemon.devices.sampler import stored
from gpujobs.daemon.handlers import jobs, log, ranking, results, show
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.device_use import DeviceUses
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.keys import JOB_QUERIES
from gpujobs.daemon.modes import Mode
from gpujobs.errors import StoreError, UsageError
from gpujobs.node.pieces import read_log
from gpujobs.paths import StatePaths
from gpujobs.protocol.instructions import Piece, ReadLog
from gpujobs.protocol.telling import Instruction
from gpujobs.store.database import migrations
from gpujobs.store.reader import Reader

ROUTES = [
    ("GET", "/v1/jobs", jobs.handle),
    ("GET", "/v1/jobs/{id:[0-9]{1,18}}", show.handle),
    ("GET", "/v1/jobs/{id:[0-9]{1,18}}/log", log.handle),
    ("GET", "/v1/results", results.catalogue),
    ("GET", "/v1/ranking", ranking.handle),
    ("GET", "/v1/results/{id:[0-9]{1,18}}/{file:.+}", results.file),
]


class _Nothing:
    """There is no forecast where nothing will start."""

    expected: Mapping[int, datetime] = {}

    async def fresh(self) -> None:
        pass

    def refresh(self) -> None:
        pass


class _Spool:
    """The node's files, as its agent would read them."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths

    async def call(self, _node: str, asked: Instruction[Any]) -> Piece:
        if not isinstance(asked, ReadLog):
            raise UsageError(f"{asked.tag} needs a daemon; `gpujobs serve &` starts one")
        return await asyncio.to_thread(read_log, self._paths, asked)


def queries_of(settings: Settings) -> JobQueries:
    """What the reading handlers use, of a daemon that does not run. Raises StoreError."""
    paths = StatePaths(settings.state_dir)
    store = Reader(connect(paths.database))
    nothing: Any = _Nothing()
    spool: Any = _Spool(paths)
    cache = JobCache(store.unfinished())
    uses = DeviceUses(store, cache, stored)
    return JobQueries(store, cache, nothing, spool, nothing, nothing, uses)


def connect(path: Path) -> sqlite3.Connection:
    """For reading. A log that a killed daemon has left beside the store is read with it; where there is none, nothing
    need be made beside it either. Raises StoreError."""
    log_of_store = path.with_name(path.name + "-wal")
    is_whole = not log_of_store.exists() or log_of_store.stat().st_size == 0
    for mode in ("mode=ro", "immutable=1") if is_whole else ("mode=ro",):
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            failure = error
            continue
        if version != migrations()[-1][0]:
            connection.close()
            raise StoreError(
                f"{path} is of another version of gpujobs; `gpujobs serve &` brings it up to date"
            )
        return connection
    raise StoreError(f"{path} cannot be read: {failure}")


@contextmanager
def answering(settings: Settings) -> Iterator[Path]:
    """The socket, closed to everybody else, on which the files answer meanwhile."""
    queries, in_force = queries_of(settings), InForce(replace(settings, mode=Mode.PERSONAL), SiteConfig())
    directory = Path(tempfile.mkdtemp(prefix="gpujobs-"))
    path = directory / "files.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    thread = threading.Thread(
        target=_serve, args=(loop, _application(queries, in_force), listener, ready), daemon=True
    )
    thread.start()
    ready.wait()
    try:
        yield path
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        shutil.rmtree(directory, ignore_errors=True)


def _serve(
    loop: asyncio.AbstractEventLoop,
    application: web.Application,
    listener: socket.socket,
    ready: threading.Event,
) -> None:
    asyncio.set_event_loop(loop)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.SockSite(runner, listener).start())
    ready.set()
    loop.run_forever()
    loop.run_until_complete(runner.cleanup())
    loop.close()


def _application(queries: JobQueries, in_force: InForce) -> web.Application:
    application = web.Application(middlewares=server.MIDDLEWARES)
    application[server.IN_FORCE], application[server.LIMITER] = in_force, RequestLimiter()
    application[JOB_QUERIES] = queries
    for method, path, handler in ROUTES:
        application.router.add_route(method, path, handler)
    return application
