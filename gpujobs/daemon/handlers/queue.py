"""`GET /v1/queue`: the rows of `gpujobs status`, the jobs of a sweep in one of them."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon import queue
from gpujobs.daemon.handlers.jobs import selected
from gpujobs.daemon.handlers.query import chosen_of, flag_of, number_of
from gpujobs.daemon.keys import caller_of, daemon_of


async def handle(request: web.Request) -> web.Response:
    """A group that is named is shown with its jobs."""
    daemon, caller, chosen = daemon_of(request), caller_of(request), chosen_of(request)
    daemon.forecast.refresh()
    rows = queue.rows(
        selected(daemon, caller, request, chosen),
        unfolded=chosen is not None or flag_of(request, "unfold"),
        alone=() if chosen is None else frozenset(chosen.ids) - chosen.members,
    )
    shown = rows[: number_of(request, "limit", 0) or len(rows)]
    groups = daemon.store.groups({row for row in shown if isinstance(row, int)})
    described = queue.describe_groups(daemon.board, groups, caller)
    return web.json_response(
        {
            "rows": [
                {"group": described[row]} if isinstance(row, int) else {"job": daemon.board.json(row, caller)}
                for row in shown
            ],
            "total": len(rows),
            "notices": daemon.strangers.notices(caller.user),
        }
    )
