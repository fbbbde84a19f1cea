"""Where handlers find the daemon and the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gpujobs.model import Caller

if TYPE_CHECKING:
    from gpujobs.daemon.daemon import Daemon
    from gpujobs.daemon.live.broadcast import Broadcaster
    from gpujobs.daemon.web.listener import WebDoor

DAEMON: web.AppKey[Daemon] = web.AppKey("daemon")
LIVE: web.AppKey[Broadcaster] = web.AppKey("live")
WEB: web.AppKey[WebDoor] = web.AppKey("web")
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


def daemon_of(request: web.Request) -> Daemon:
    return request.app[DAEMON]


def caller_of(request: web.Request) -> Caller:
    return request[CALLER]
