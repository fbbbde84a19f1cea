"""The files of the pages, read once, and the way in and out. What is not among them by name does not exist."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

from gpujobs.daemon.keys import WEB
from gpujobs.daemon.web.sessions import SESSION_SECONDS
from gpujobs.errors import NotPermittedError

TYPES = {
    "css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain",
}  # fmt: skip
START = "index.html"


@dataclass(frozen=True, slots=True)
class StaticFile:
    content: bytes
    type: str
    tag: str


def read_files() -> dict[str, StaticFile]:
    found = {}
    for entry in resources.files("gpujobs.web").joinpath("static").iterdir():
        kind = TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            content = entry.read_bytes()
            found[entry.name] = StaticFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


def file_handler(files: dict[str, StaticFile]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        file = files.get(request.match_info.get("name", START))
        if file is None:
            raise web.HTTPNotFound
        headers = {"ETag": file.tag, "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.content, content_type=file.type, charset="utf-8", headers=headers)

    return handle


async def login(request: web.Request) -> web.Response:
    """Spends the token, whoever brings it."""
    door = request.app[WEB]
    grant = door.guard.sessions.redeem(request.query.get("token", ""))
    door.guard.check_peer(request, grant)
    response = web.Response(status=303, headers={"Location": "/"})
    response.set_cookie(
        door.guard.cookie,
        door.guard.sessions.begin(grant),
        max_age=int(SESSION_SECONDS),
        path="/",
        httponly=True,
        secure=door.url.startswith("https:"),
        samesite="Strict",
    )
    return response


async def logout(request: web.Request) -> web.Response:
    door = request.app[WEB]
    door.guard.sessions.end(request.cookies.get(door.guard.cookie, ""))
    response = web.Response(status=204)
    response.del_cookie(door.guard.cookie, path="/")
    return response


def refusal(error: NotPermittedError) -> web.Response:
    """Of a page, in words: whoever opens it in a browser sees no JSON."""
    text = f"gpujobs: {error.message}\n"
    return web.Response(status=401, text=text, content_type="text/plain")
