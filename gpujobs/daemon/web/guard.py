"""Who may come in: the right Host and Origin, a cookie of a user who has asked for a link on the socket, and the
socket's other end that user's, as far as the kernel can say. Whoever is refused learns nothing but that.

| check | against |
| --- | --- |
| Host | a name of the attacker's that leads to this address (DNS rebinding) |
| Origin, Sec-Fetch-Site | pages of other origins, those of other ports of this machine too |
| X-Gpujobs on changes | forms, which cannot set it |
| the uid of the peer's socket | another user who has come by a link or a cookie: cookies ignore ports |
"""

from __future__ import annotations

import weakref
from asyncio import BaseTransport
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from gpujobs.daemon.access.identity import user_name
from gpujobs.daemon.web.peers import NOBODY_KNOWN, uid_of_peer
from gpujobs.daemon.web.sessions import Grant, Sessions
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller

CHANGE_HEADER = "X-Gpujobs"
OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PUBLIC = frozenset({"/login", "/metrics"})
PAGE = frozenset({"/"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

RESULT_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of what a user wrote: whoever has it shown all the same runs nothing of it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotLoggedInError(NotPermittedError):
    """Is answered with 401."""


@dataclass
class Guard:
    """`names`: of hosts, besides those of loopback, under which the pages are asked for. `proxy_uid`: the user that
    the site's proxy runs as, whose connections are other people's."""

    sessions: Sessions
    cookie: str
    names: frozenset[str] = frozenset()
    proxy_uid: int | None = None
    _peers: weakref.WeakKeyDictionary[BaseTransport, int | None] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def check_origin(self, request: web.Request) -> None:
        """Raises NotPermittedError."""
        host = request.headers.get("Host", "")
        if _name(host) not in OWN_NAMES | self.names or len(request.headers.getall("Host", [])) != 1:
            raise NotPermittedError(
                "this host name is not one of the pages'; [web] url in gpujobs.toml names it"
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise NotPermittedError("asked for by a page of another origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in ("none", "same-origin") and request.path not in PAGE | {"/login"}:
            raise NotPermittedError("asked for by a page of another site")

    def caller_of(self, request: web.Request) -> Caller:
        """Raises NotLoggedInError, NotPermittedError."""
        grant = self.sessions.of(request.cookies.get(self.cookie, ""))
        if grant is None:
            raise NotLoggedInError(
                "not logged in, or no longer; `gpujobs web` prints a link that logs you in"
            )
        self.check_peer(request, grant)
        if request.method not in ("GET", "HEAD") and request.headers.get(CHANGE_HEADER) != "1":
            raise NotPermittedError(f"a change needs the header {CHANGE_HEADER}: 1")
        return grant.caller()

    def check_peer(self, request: web.Request, grant: Grant) -> None:
        """Raises NotPermittedError where another user of this machine has come by somebody's link or cookie."""
        uid = self._peer(request)
        if uid is None or uid in (grant.uid, 0, self.proxy_uid):
            return
        who = "nobody knows whose connection this is" if uid == NOBODY_KNOWN else f"you are {user_name(uid)}"
        raise NotPermittedError(f"this link or cookie was given to another user, and {who}")

    def _peer(self, request: web.Request) -> int | None:
        transport = request.transport
        if transport is None:
            return NOBODY_KNOWN
        if transport not in self._peers:
            self._peers[transport] = uid_of_peer(transport.get_extra_info("socket"))
        return self._peers[transport]


def _name(host: str) -> str:
    """Without the port: a forwarded one is another. Empty for what is no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Also what a user wrote is never taken for a page of ours: results are only ever saved."""
    if request.path.startswith("/v1/results/"):
        response.headers["Content-Security-Policy"] = RESULT_POLICY
        response.headers["Content-Disposition"] = "attachment"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
