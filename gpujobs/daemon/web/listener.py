"""The address of the pages: bound while the daemon serves. Where it cannot be had, the socket answers all the same."""

from __future__ import annotations

import ipaddress
import logging
import pwd
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from aiohttp import web

from gpujobs.config.settings import listen_address
from gpujobs.config.site import WebTable
from gpujobs.daemon.access.connections import ConnectionLimit
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.keys import CALLER, WEB
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.web import events, pages
from gpujobs.daemon.web.guard import PAGE, PUBLIC, Guard, Handler, NotLoggedInError, add_headers
from gpujobs.daemon.web.metrics import Metrics
from gpujobs.daemon.web.peers import uid_of_peer
from gpujobs.daemon.web.sessions import Sessions
from gpujobs.paths import StatePaths

BACKLOG = 128
DEFAULT_LISTEN = {Mode.SITE: "127.0.0.1:8470", Mode.PERSONAL: "127.0.0.1:0", Mode.EMBEDDED: ""}
"""Port 0 is a free one: that of the last time, where it still is free."""

log = logging.getLogger(__name__)


@dataclass
class WebDoor:
    """`url` is empty where no pages are served; `why` then says why not, and `has_failed` that they should be."""

    guard: Guard
    url: str = ""
    why: str = ""
    has_failed: bool = False
    files: dict[str, pages.StaticFile] = field(default_factory=pages.read_files)


def door_of(in_force: InForce, paths: StatePaths, state_id: str) -> WebDoor:
    table = in_force.site.web
    sessions = Sessions(paths.run / "web.json")
    names = frozenset({urlsplit(table.url).hostname or ""} - {""}) if table.url else frozenset[str]()
    cookie = f"gpujobs-{state_id[:12]}"
    return WebDoor(Guard(sessions, cookie, names, _uid_of(table.proxy_user)))


def _uid_of(name: str | None) -> int | None:
    try:
        return None if name is None else pwd.getpwnam(name).pw_uid
    except KeyError:
        log.warning("the configuration names web.proxy_user %s, which this machine does not have", name)
        return None


@asynccontextmanager
async def serving(
    in_force: InForce, door: WebDoor, make_runner: Callable[[], web.AppRunner]
) -> AsyncIterator[None]:
    """`make_runner`: of an application with the routes of the daemon, and `middleware` for the identity."""
    listener = _listen(in_force, door)
    if listener is None:
        yield
        return
    runner = make_runner()
    await runner.setup()
    assert runner.server is not None
    per_user = in_force.site.quotas.connections if in_force.mode is Mode.SITE else None
    gate = ConnectionLimit(runner.server, per_user, lambda connection: _counted(door, connection))
    await gate.admit(listener)
    try:
        yield
    finally:
        door.url, door.why = "", "the daemon is ending"
        await gate.close()
        await runner.cleanup()


def _counted(door: WebDoor, connection: socket.socket) -> int | None:
    """The user whose connection counts as one of theirs; of a proxy's nobody knows."""
    uid = uid_of_peer(connection)
    return None if uid == door.guard.proxy_uid else uid


def _listen(in_force: InForce, door: WebDoor) -> socket.socket | None:
    told, site = in_force.settings.web, in_force.site.web
    text = told if told is not None else site.listen
    if text is None:
        text = DEFAULT_LISTEN[in_force.mode]
    if not text:
        door.why = "this daemon serves no pages (`serve --no-web`, or one that `gpujobs run` has started)"
        return None
    address, port = listen_address(text)
    try:
        listener = _bound(address, port, door.guard.sessions.port)
    except OSError as error:
        door.why, door.has_failed = f"the pages cannot be served on {text}: {error.strerror or error}", True
        log.error("%s; the socket is served all the same; `serve --web ADDRESS:PORT` names another", door.why)
        return None
    port = listener.getsockname()[1]
    door.guard.sessions.port = port
    door.guard.sessions.save()
    _open(door, site, address, port)
    return listener


def _open(door: WebDoor, site: WebTable, address: str, port: int) -> None:
    parsed = ipaddress.ip_address(address)
    host = f"[{address}]" if parsed.version == 6 else address
    door.url = (site.url or f"http://{host}:{port}").rstrip("/")
    if not parsed.is_unspecified:
        door.guard.names |= {address}
    if not parsed.is_loopback:
        log.warning("the pages are served beyond this machine, and not encrypted: a proxy should be in front")
    log.info("pages on %s; `gpujobs web` prints a link", door.url)


def _bound(address: str, port: int, last_port: int) -> socket.socket:
    """Raises OSError. Of the free ports that of the last time, so that open pages find it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for wanted in dict.fromkeys([port or last_port, port]):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, wanted))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            if wanted == port:
                raise
        else:
            listener.setblocking(False)
            return listener
    raise AssertionError("unreachable")


def add_routes(application: web.Application, door: WebDoor) -> None:
    handle = pages.file_handler(door.files)
    for method, path, handler in (
        ("GET", "/", handle),
        ("GET", "/static/{name}", handle),
        ("GET", "/login", pages.login),
        ("POST", "/logout", pages.logout),
        ("GET", "/events", events.handle),
        ("GET", "/metrics", Metrics().handle),
    ):
        application.router.add_route(method, path, handler)
    application.on_response_prepare.append(add_headers)


STREAMING = frozenset({events.handle})


@web.middleware
async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises NotPermittedError, or has the cookie's user as the caller from here on."""
    guard = request.app[WEB].guard
    guard.check_origin(request)
    if request.path not in PUBLIC:
        try:
            request[CALLER] = replace(guard.caller_of(request), is_on_page=True)
        except NotLoggedInError as error:
            if request.path in PAGE:
                return pages.refusal(error)
            raise
    return await handler(request)
