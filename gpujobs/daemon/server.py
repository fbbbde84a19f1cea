"""HTTP over the UNIX socket: who asks, what errors look like, which handler answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gpujobs.config.settings import SOCKET_NAME
from gpujobs.daemon.access.connections import ConnectionLimit
from gpujobs.daemon.access.identity import peer_of
from gpujobs.daemon.daemon import Daemon, Mode
from gpujobs.daemon.door import Door
from gpujobs.daemon.handlers import LASTING, ON_SOCKET_ALONE, ROUTES
from gpujobs.daemon.keys import CALLER, DAEMON, LIVE, WEB
from gpujobs.daemon.live.watching import broadcaster
from gpujobs.daemon.web import listener
from gpujobs.daemon.web.guard import NotLoggedInError
from gpujobs.errors import (
    GpujobsError,
    JobFileError,
    MachineError,
    NotFoundError,
    NotPermittedError,
    ProtocolError,
    UsageError,
)

MAX_BODY_BYTES = 16 << 20
"""Of a request in JSON: a thousand job files are about one MiB; data is streamed, not a body."""

BODY_SECONDS = 10.0
"""Within which it has come; data has no limit, as long as its user likes to wait."""

MAX_LINE_BYTES = 1 << 20
"""Of a request's first line: it holds the ids of a sweep's ten thousand jobs where somebody follows them."""

log = logging.getLogger(__name__)

_SILENT = logging.getLogger("gpujobs.silent")
_SILENT.disabled = True
"""For what is no HTTP: whoever sends it hears of it, and must not fill our log with it. The errors of handlers
are logged here."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(daemon: Daemon) -> web.Application:
    application = web.Application(middlewares=MIDDLEWARES, client_max_size=MAX_BODY_BYTES)
    application[DAEMON] = daemon
    application[LIVE] = broadcaster(daemon)
    application[WEB] = listener.door_of(daemon)
    for method, path, handler in ROUTES:
        application.router.add_route(method, path, handler)
    return application


def make_pages(application: web.Application) -> web.Application:
    """The requests of `application` for those who have a cookie, and the pages themselves."""
    made = web.Application(middlewares=[_errors, listener.identity, _turns], client_max_size=MAX_BODY_BYTES)
    made[DAEMON], made[LIVE], made[WEB] = application[DAEMON], application[LIVE], application[WEB]
    for method, path, handler in ROUTES:
        if handler not in ON_SOCKET_ALONE:
            made.router.add_route(method, path, handler)
    listener.add_routes(made, application[WEB])
    return made


@asynccontextmanager
async def serving(daemon: Daemon, door: Door) -> AsyncIterator[web.Server]:
    """Answers on the socket meanwhile, and where it listens again when its name was removed."""
    application = make_application(daemon)
    runner = _runner(application)
    await runner.setup()
    assert runner.server is not None
    async with listener.serving(daemon, application[WEB], lambda: _runner(make_pages(application))):
        per_user = daemon.site.quotas.connections if daemon.mode is Mode.SITE else None
        gate = ConnectionLimit(runner.server, per_user)
        await gate.admit(door.open())
        keeper = asyncio.create_task(door.keep(gate.admit))
        try:
            yield runner.server
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await gate.close()
            await runner.cleanup()


def _runner(application: web.Application) -> web.AppRunner:
    return web.AppRunner(
        application, access_log=None, logger=_SILENT, shutdown_timeout=1.0, max_line_size=MAX_LINE_BYTES
    )


def door_of(daemon: Daemon) -> Door:
    """Where it listens: as it was told, or, when that has gone, in its own directory, where clients look next."""
    fallback = daemon.paths.run / SOCKET_NAME
    places = list(dict.fromkeys([daemon.settings.socket, fallback]))
    return Door(places, is_open_to_all=daemon.mode is Mode.SITE)


@web.middleware
async def _identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.transport is None:
        raise NotPermittedError("the connection was closed")
    request[CALLER] = peer_of(request.transport.get_extra_info("socket"))
    return await _turns(request, handler)


@web.middleware
async def _turns(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The caller is let in, with the rights of this moment, and waits until it is their turn."""
    daemon, caller = request.app[DAEMON], request.get(CALLER)
    if caller is None:  # what asks nobody who they are
        return await handler(request)
    request[CALLER] = caller = daemon.gatekeeper.admit(caller)
    if request.match_info.handler in LASTING | listener.LASTING:
        return await handler(request)
    return await daemon.turns.take(caller.uid, lambda: _work(request, handler))


async def _work(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whoever stops in the middle of a request must not keep the turns of its user."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await request.read()
    except TimeoutError:
        raise ProtocolError(f"the request's body did not come within {BODY_SECONDS:g} s") from None
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _error(404, UsageError(f"{request.method} {request.path} is unknown to this gpujobs daemon"))
    except web.HTTPRequestEntityTooLarge:
        limit = f"{MAX_BODY_BYTES >> 20} MiB"
        return _error(413, UsageError(f"the request is larger than {limit}; submit the files in several"))
    except web.HTTPException as error:
        return _error(error.status, UsageError(error.text or error.reason))
    except GpujobsError as error:
        return _error(status_of(error), error)
    except (ConnectionResetError, TimeoutError):
        raise
    except Exception as error:
        log.exception("%s %s", request.method, request.path)
        return _error(500, GpujobsError(f"the daemon failed: {error!r}; its log says more"))


def status_of(error: GpujobsError) -> int:
    if isinstance(error, JobFileError):
        return 400
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, UsageError):
        return 400
    if isinstance(error, NotPermittedError):
        return 401 if isinstance(error, NotLoggedInError) else 403
    if isinstance(error, MachineError):
        return 503
    return 400 if isinstance(error, ProtocolError) else 500


def _error(status: int, error: GpujobsError) -> web.Response:
    return web.json_response(error.to_wire(), status=status)


MIDDLEWARES = [_errors, _identity]
"""Around every handler: who asks, and errors as the wire has them."""
