"""HTTP over the UNIX socket: who asks, what errors look like, which handler answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Middleware

from gpujobs.config.settings import SOCKET_NAME
from gpujobs.daemon.access.connections import ConnectionLimit, RequestLimiter
from gpujobs.daemon.access.identity import peer_of
from gpujobs.daemon.build import Parts
from gpujobs.daemon.door import Door
from gpujobs.daemon.handlers import ON_SOCKET_ALONE, ROUTES, STREAMING
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.keys import (
    CALLER,
    DEVICES,
    JOB_QUERIES,
    JOBS,
    LIVE,
    NEWS,
    SITE,
    SUBMISSIONS,
    UPLOADS,
    WEB,
)
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.web import listener
from gpujobs.daemon.web.guard import NotLoggedInError
from gpujobs.daemon.web.listener import WebDoor
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


IN_FORCE = web.AppKey("in_force", InForce)
LIMITER = web.AppKey("limiter", RequestLimiter)


def make_application(parts: Parts, middlewares: Sequence[Middleware] | None = None) -> web.Application:
    door = listener.door_of(parts.in_force, parts.paths, parts.state_id)
    return _application(parts, door, middlewares or MIDDLEWARES, ROUTES)


def make_pages(parts: Parts, door: WebDoor) -> web.Application:
    """The socket's requests for those who have a cookie, and the pages themselves."""
    routes = [route for route in ROUTES if route[2] not in ON_SOCKET_ALONE]
    made = _application(parts, door, PAGES_MIDDLEWARES, routes)
    listener.add_routes(made, door)
    return made


def _application(
    parts: Parts, door: WebDoor, middlewares: Sequence[Middleware], routes: Sequence[tuple[str, str, Handler]]
) -> web.Application:
    application = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    application[IN_FORCE], application[LIMITER] = parts.in_force, parts.limiter
    application[JOBS], application[JOB_QUERIES] = parts.jobs, parts.queries
    application[SUBMISSIONS], application[UPLOADS] = parts.submissions, parts.uploads
    application[DEVICES], application[SITE] = parts.devices, parts.site
    application[LIVE], application[WEB] = parts.live, door
    application[NEWS] = parts.news
    for method, path, handler in routes:
        application.router.add_route(method, path, handler)
    return application


@asynccontextmanager
async def serving(parts: Parts, door: Door) -> AsyncIterator[web.Server]:
    """Answers on the socket meanwhile, and where it listens again when its name was removed."""
    application = make_application(parts)
    web_door = application[WEB]
    runner = _runner(application)
    await runner.setup()
    assert runner.server is not None
    async with listener.serving(parts.in_force, web_door, lambda: _runner(make_pages(parts, web_door))):
        per_user = parts.in_force.site.quotas.connections if parts.mode is Mode.SITE else None
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


def door_of(parts: Parts) -> Door:
    """Where it listens: as it was told, or, when that has gone, in its own directory, where clients look next."""
    fallback = parts.paths.run / SOCKET_NAME
    places = list(dict.fromkeys([parts.settings.socket, fallback]))
    return Door(places, is_open_to_all=parts.mode is Mode.SITE)


@web.middleware
async def _identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.transport is None:
        raise NotPermittedError("the connection was closed")
    request[CALLER] = peer_of(request.transport.get_extra_info("socket"))
    return await _turns(request, handler)


@web.middleware
async def _turns(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The caller is let in, with the rights of this moment, and waits until it is their turn."""
    caller = request.get(CALLER)
    if caller is None:  # what asks nobody who they are
        return await handler(request)
    request[CALLER] = caller = request.app[IN_FORCE].access.admit(caller)
    if request.match_info.handler in STREAMING | listener.STREAMING:
        return await handler(request)
    return await request.app[LIMITER].take(caller.uid, lambda: _work(request, handler))


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
        return await _whole_or_cut_off(request, handler)
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


async def _whole_or_cut_off(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What fails in the middle of an answer closes the connection, by which the asker knows. In words it would be taken
    for a part of the answer, whose end would be waited for."""
    try:
        return await handler(request)
    except ConnectionResetError:
        raise
    except Exception as error:
        if not request.writer.output_size:
            raise
        known = isinstance(error, GpujobsError | TimeoutError)
        log.warning(
            "%s %s: cut off: %s", request.method, request.path, error, exc_info=None if known else error
        )
        raise ConnectionResetError from error


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

PAGES_MIDDLEWARES = [_errors, listener.identity, _turns]
