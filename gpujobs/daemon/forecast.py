"""When waiting jobs will probably start: the policy, run forward, whenever somebody wants to know."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from gpujobs.policy import Snapshot
from gpujobs.policy.virtual.expected_starts import ExpectedRun, expected_runs

JOBS = 100
"""Of the queue, from its head; each costs about one decision."""

SHARE = 10
"""An answer that took a second to work out is good for ten."""

PATIENCE_SECONDS = 0.5
"""Who asks about one job waits so long for a fresh answer, and takes the last one then."""


log = logging.getLogger(__name__)


class Forecast:
    """`expected` is the last answer: the start of each job that has one; `runs`: with device and length."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._good_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self.expected: Mapping[int, datetime] = {}
        self.runs: Mapping[int, ExpectedRun] = {}

    def refresh(self) -> None:
        """Begins to work out a new answer, where the last one is old. Returns at once."""
        is_running = self._task is not None and not self._task.done()
        if not is_running and time.monotonic() >= self._good_until:
            self._task = asyncio.get_running_loop().create_task(self._work())
            self._task.add_done_callback(_report)

    async def fresh(self) -> None:
        """As `refresh`, and waits for the answer, but not for ever."""
        self.refresh()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=PATIENCE_SECONDS)

    async def _work(self) -> None:
        """In a thread, on a queue of its own: the daemon goes on changing its one."""
        began = time.monotonic()
        snapshot = self._snapshot()
        queue = snapshot.queue()
        if queue.has_ready or queue.next_begin is not None:
            copied = replace(snapshot, waiting=queue.copy())
            self.runs = await asyncio.to_thread(expected_runs, copied, JOBS)
        else:
            self.runs = {}
        self.expected = {job: run.starts_at for job, run in self.runs.items()}
        now = time.monotonic()
        self._good_until = now + SHARE * (now - began)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the forecast failed", exc_info=task.exception())
