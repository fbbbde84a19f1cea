"""A request that joins a channel: with which picture, and what of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp import web

from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.keys import LIVE, SITE, caller_of
from gpujobs.daemon.live.broadcast import ChannelEnded, Render, Viewer
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller
from gpujobs.view.now import Now


@asynccontextmanager
async def watching(
    request: web.Request,
    render: Render,
    question: Hashable,
    *,
    ids: frozenset[int] | None = None,
    last_id: str | None = None,
    with_devices: bool = False,
) -> AsyncIterator[Viewer]:
    """`question`: what `render` depends on, besides the caller."""
    site, caller, live = request.app[SITE], caller_of(request), request.app[LIVE]
    viewer = Viewer(lambda: _abort(request))
    known = replace(caller, pid=0)  # of two connections of a user the rights are the same

    async def rendered() -> Now:
        if _rights(site.access, caller) != caller:
            raise ChannelEnded
        return await render()

    key = (known, question)
    try:
        await live.join(key, rendered, viewer, ids=ids, last_id=last_id, with_devices=with_devices)
    except ChannelEnded:
        viewer.end()
    try:
        yield viewer
    finally:
        live.leave(key, viewer)


def _rights(access: AccessPolicy, caller: Caller) -> Caller | None:
    """As they are now: the configuration may have been read again."""
    try:
        return access.admit(replace(caller, is_admin=False, reads_shared=False, sees_names=True))
    except NotPermittedError:
        return None


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
