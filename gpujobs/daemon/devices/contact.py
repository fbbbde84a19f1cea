"""Whether the other boxes can be reached: each is asked now and then, which renews its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gpujobs.daemon.devices.leases import Leases
from gpujobs.daemon.tasks import Tasks
from gpujobs.errors import GpujobsError

LATE_SECONDS = 1.0
"""What was on its way for so long has granted from an instant before that: the next word follows at once."""

AWAY_SECONDS = 1.0
"""Between two tries to reach a box that is away: its link may have healed."""


class Contact:
    """`on_away` hears of a box that does not answer any more, `on_back` when it does again, `on_lost` when its lease
    has ended meanwhile."""

    def __init__(
        self,
        leases: Leases,
        tasks: Tasks,
        *,
        on_away: Callable[[str, str], None],
        on_back: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._leases = leases
        self._tasks = tasks
        self._on_away, self._on_back, self._on_lost = on_away, on_back, on_lost
        self._beats: dict[str, asyncio.Task[None]] = {}
        self._waits: dict[str, asyncio.Task[None]] = {}

    async def greet(self, node: str) -> None:
        """Grants it a lease: the first answer names an instant, the second word grants from it. Raises GpujobsError."""
        await self._leases.renew(node)
        await self._leases.renew(node)

    def keep(self, node: str) -> None:
        """It is admitted, and asked from now on."""
        self._end(self._waits, node)
        self._end(self._beats, node)
        self._beats[node] = self._tasks.spawn(self._beat(node))

    def lose(self, node: str) -> None:
        """It is away, as somebody else has seen."""
        self._end(self._beats, node)
        self._wait(node)

    def forget(self, node: str) -> None:
        self._end(self._beats, node)
        self._end(self._waits, node)

    def close(self) -> None:
        for tasks in (self._beats, self._waits):
            for node in list(tasks):
                self._end(tasks, node)

    def _end(self, tasks: dict[str, asyncio.Task[None]], node: str) -> None:
        task = tasks.pop(node, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _beat(self, node: str) -> None:
        is_away = False
        while True:
            await asyncio.sleep(AWAY_SECONDS if is_away else self._leases.beat_seconds)
            try:
                await self._renew(node)
            except GpujobsError as error:
                if not is_away:
                    is_away = True
                    self._wait(node)
                    self._on_away(node, str(error))
                continue
            if is_away:
                self._on_back(node)
                return

    async def _renew(self, node: str) -> None:
        """As after a cut that has healed: from the instant that is named then, before the next one."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        await self._leases.renew(node)
        if loop.time() - asked > LATE_SECONDS:
            await self._leases.renew(node)

    def _wait(self, node: str) -> None:
        if node not in self._waits:
            self._waits[node] = self._tasks.spawn(self._expire(node))

    async def _expire(self, node: str) -> None:
        while (left := self._leases.left(node)) > 0:
            await asyncio.sleep(left)
        self._waits.pop(node, None)
        self._on_lost(node)
