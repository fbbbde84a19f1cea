"""`GET /v1/queue`: the rows of `gpujobs status`, the jobs of a sweep in one of them; `GET /v1/queue/watch`: the
same again and again, as it changes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from gpujobs.daemon.handlers.jobs import selected
from gpujobs.daemon.handlers.query import chosen_of, flag_of, number_of
from gpujobs.daemon.jobs import listing
from gpujobs.daemon.keys import JOB_QUERIES, caller_of

BETWEEN_SECONDS = 0.5
"""Nobody reads faster."""


async def handle(request: web.Request) -> web.Response:
    """A group that is named is shown with its jobs."""
    return web.json_response(
        {**_seen(request), "share": request.app[JOB_QUERIES].standing.of(caller_of(request))}
    )


async def watch(request: web.Request) -> web.StreamResponse:
    """A line of JSON for each state of the rows, two a second at most; ends when all jobs of `?ids=` have."""
    queries, chosen = request.app[JOB_QUERIES], chosen_of(request)
    watcher = queries.watch(None if chosen is None else chosen.ids)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    last: dict[str, Any] | None = None
    try:
        await response.prepare(request)
        while True:
            seen = _seen(request)
            if seen != last:
                await response.write(json.dumps(seen, separators=(",", ":")).encode() + b"\n")
                last = seen
            if chosen is not None and not queries.cache.jobs.keys() & set(chosen.ids):
                return response
            await asyncio.sleep(BETWEEN_SECONDS)
            await watcher.changed()
    except ConnectionResetError:
        return response
    finally:
        queries.unwatch(watcher)


def _seen(request: web.Request) -> dict[str, Any]:
    queries, caller, chosen = request.app[JOB_QUERIES], caller_of(request), chosen_of(request)
    queries.forecast.refresh()
    rows = listing.rows(
        selected(queries, caller, request, chosen),
        unfolded=chosen is not None or flag_of(request, "unfold"),
        alone=() if chosen is None else frozenset(chosen.ids) - chosen.members,
    )
    shown = rows[: number_of(request, "limit", 0) or len(rows)]
    described = queries.groups({row for row in shown if isinstance(row, int)}, caller)
    return {
        "rows": [
            {"group": described[row]} if isinstance(row, int) else {"job": queries.json(row, caller)}
            for row in shown
        ],
        "total": len(rows),
        "notices": queries.foreign.notices(caller.user),
    }
