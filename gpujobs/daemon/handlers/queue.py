"""`GET /v1/queue`: the rows of `gpujobs status`, the jobs of a sweep in one of them; `GET /v1/queue/watch`: the
same again and again, as it changes."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial

from aiohttp import web

from gpujobs.daemon.handlers.jobs import selected
from gpujobs.daemon.handlers.pieces import listed, write
from gpujobs.daemon.handlers.query import choice_of, chosen_of, flag_of, number_of
from gpujobs.daemon.jobs.references import Chosen
from gpujobs.daemon.keys import DEVICES, JOB_QUERIES, caller_of
from gpujobs.daemon.live import picture
from gpujobs.daemon.live.broadcast import LARGE_ROWS, Apart, Piece, encoded
from gpujobs.daemon.live.watching import watching
from gpujobs.model import Job
from gpujobs.view.now import (
    Now,
    applied,
    difference_from_json,
    now_from_json,
    now_to_json,
)

LARGE_BYTES = 500 * LARGE_ROWS
"""Of so many rows."""


async def handle(request: web.Request) -> web.StreamResponse:
    """A group that is named is shown with its jobs."""
    queries, chosen = request.app[JOB_QUERIES], await chosen_of(request)
    seen = now_to_json(await _seen(request, chosen))
    rows = seen.pop("rows")
    return await write(
        request, listed({**seen, "share": queries.standing.of(caller_of(request))}, "rows", rows)
    )


async def watch(request: web.Request) -> web.StreamResponse:
    """A line of JSON for each state of the rows, two a second at most; with `?changes=1` the first has all and the
    others what is new. Ends when all jobs of `?ids=` have."""
    queries, chosen = request.app[JOB_QUERIES], await chosen_of(request)
    ids = None if chosen is None else frozenset(chosen.ids)
    is_told_changes = flag_of(request, "changes")
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    told = Whole(queries.apart.run)
    looks = flag_of(request, "devices")

    async def render() -> Now:
        since = chosen and await queries.chosen_since(caller_of(request), choice_of(request), chosen)
        return await _seen(request, since)

    async with watching(request, render, _question(request), ids=ids, with_devices=looks) as viewer:
        with suppress(ConnectionResetError):
            await response.prepare(request)
            while (piece := await viewer.next()) is not None:
                line = piece.body if is_told_changes else await told.after(piece)
                await response.write(line + b"\n")
    return response


class Whole:
    """The picture after each piece, for those who want it whole."""

    def __init__(self, apart: Apart) -> None:
        self._apart = apart
        self._seen = Now()

    async def after(self, piece: Piece) -> bytes:
        is_large = len(self._seen.rows) >= LARGE_ROWS or len(piece.body) >= LARGE_BYTES
        work = partial(self._after, piece)
        return await self._apart(work) if is_large else work()

    def _after(self, piece: Piece) -> bytes:
        value = json.loads(piece.body)
        self._seen = (
            now_from_json(value) if piece.is_whole else applied(self._seen, difference_from_json(value))
        )
        return encoded(now_to_json(self._seen))


def _question(request: web.Request) -> tuple[object, ...]:
    return ("queue", *sorted((key, value) for key, value in request.query.items() if key != "changes"))


async def _seen(request: web.Request, chosen: Chosen | None) -> Now:
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    jobs = await selected(queries, caller, request, chosen)
    seen = await picture.queue(
        queries,
        caller,
        [*jobs, *_lately(request)],
        unfolded=chosen is not None or flag_of(request, "unfold"),
        alone=() if chosen is None else frozenset(chosen.ids) - chosen.members,
        limit=number_of(request, "limit", 0) or 0,
    )
    if not flag_of(request, "devices"):
        return picture.with_nodes(queries, seen)
    return picture.with_devices(request.app[DEVICES], caller, seen)


def _lately(request: web.Request) -> list[Job]:
    """What has ended lately, where that is asked for and the conditions do not ask for what has ended anyway."""
    choice = choice_of(request)
    if not flag_of(request, "lately") or flag_of(request, "all") or choice.states or choice.since:
        return []
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    return [job for job in queries.lately() if choice.matches(caller, job)]
