"""How much one user's requests take: others do not wait for them."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web

from gpujobs.daemon.access.connections import REQUESTS_AT_ONCE, RequestLimiter


def test_few_requests_of_a_user_are_worked_on_at_once_and_nobody_else_waits() -> None:
    turns, working, most = RequestLimiter(), Counter[int](), Counter[int]()

    async def run() -> None:
        go = asyncio.Event()

        async def handle(uid: int) -> web.StreamResponse:
            working[uid] += 1
            most[uid] = max(most[uid], working[uid])
            await go.wait()
            working[uid] -= 1
            return web.Response()

        tasks = [asyncio.create_task(turns.take(1, lambda: handle(1))) for _ in range(3 * REQUESTS_AT_ONCE)]
        tasks.append(asyncio.create_task(turns.take(2, lambda: handle(2))))
        for _ in range(10):
            await asyncio.sleep(0)
        assert working == {1: REQUESTS_AT_ONCE, 2: 1}
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert most == {1: REQUESTS_AT_ONCE, 2: 1} and REQUESTS_AT_ONCE == 4
