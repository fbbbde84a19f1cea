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
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.standing import share_of

BETWEEN_SECONDS = 0.5
"""Nobody reads faster."""


async def handle(request: web.Request) -> web.Response:
    """A group that is named is shown with its jobs."""
    return web.json_response({**_seen(request), "share": share_of(daemon_of(request), caller_of(request))})


async def watch(request: web.Request) -> web.StreamResponse:
    """A line of JSON for each state of the rows, two a second at most; ends when all jobs of `?ids=` have."""
    daemon, chosen = daemon_of(request), chosen_of(request)
    watcher = daemon.board.watch(None if chosen is None else frozenset(chosen.ids))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    last: dict[str, Any] | None = None
    try:
        await response.prepare(request)
        while True:
            seen = _seen(request)
            if seen != last:
                await response.write(json.dumps(seen, separators=(",", ":")).encode() + b"\n")
                last = seen
            if chosen is not None and not daemon.board.jobs.keys() & set(chosen.ids):
                return response
            await asyncio.sleep(BETWEEN_SECONDS)
            await watcher.changed()
    except ConnectionResetError:
        return response
    finally:
        daemon.board.unwatch(watcher)


def _seen(request: web.Request) -> dict[str, Any]:
    daemon, caller, chosen = daemon_of(request), caller_of(request), chosen_of(request)
    daemon.forecast.refresh()
    rows = listing.rows(
        selected(daemon, caller, request, chosen),
        unfolded=chosen is not None or flag_of(request, "unfold"),
        alone=() if chosen is None else frozenset(chosen.ids) - chosen.members,
    )
    shown = rows[: number_of(request, "limit", 0) or len(rows)]
    groups = daemon.store.groups({row for row in shown if isinstance(row, int)})
    described = listing.describe_groups(daemon.board, groups, caller)
    return {
        "rows": [
            {"group": described[row]} if isinstance(row, int) else {"job": daemon.board.json(row, caller)}
            for row in shown
        ],
        "total": len(rows),
        "notices": daemon.strangers.notices(caller.user),
    }
