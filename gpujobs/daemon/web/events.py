"""`GET /events`: the box as it is, then what is new, as server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from aiohttp import web

from gpujobs.daemon.handlers.query import number_of
from gpujobs.daemon.keys import DEVICES, JOB_QUERIES, caller_of
from gpujobs.daemon.live import picture
from gpujobs.daemon.live.broadcast import Piece, Viewer
from gpujobs.daemon.live.watching import watching

ROWS = 200
MOST_ROWS = 2000
SILENCE_SECONDS = 15.0
"""After which a comment is sent: a proxy takes a silent connection for a dead one."""

RETRY_MS = 1000


async def handle(request: web.Request) -> web.StreamResponse:
    """`?limit=` rows, 200 where nothing is said. `Last-Event-ID` resumes."""
    limit = min(number_of(request, "limit") or ROWS, MOST_ROWS)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    queries, devices = request.app[JOB_QUERIES], request.app[DEVICES]
    render = partial(picture.box, queries, devices, caller_of(request), limit)
    last_id = request.headers.get("Last-Event-ID")
    async with watching(request, render, ("box", limit), last_id=last_id, with_devices=True) as viewer:
        with suppress(ConnectionResetError):
            await response.prepare(request)
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            await _tell(viewer, response)
    return response


async def _tell(viewer: Viewer, response: web.StreamResponse) -> None:
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                piece = await viewer.next()
        except TimeoutError:
            await response.write(b": still here\n\n")
            continue
        if piece is None:
            return
        await response.write(event(piece))


def event(piece: Piece) -> bytes:
    kind = b"now" if piece.is_whole else b"change"
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (piece.id.encode(), kind, piece.body)
