"""What the dispatcher starts, and when it tries again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.errors import StoreError
from gpujobs.model import Job, Node, NodeStatus
from gpujobs.store.store import StaleTransitionError, Store
from tests.unit.daemon.views import GPU, view_of
from tests.unit.store.jobs import A, new_job


class Idle:
    """Two free devices."""

    known = (Node("n", NodeStatus.OK, "", (GPU, replace(GPU, index=1, uuid="GPU-1"))),)

    async def probe(self) -> tuple[Node, ...]:
        return self.known


class Box:
    """Two jobs that wait; `started` are those of which the launch was asked."""

    def __init__(self, directory: Path) -> None:
        self.store, self.board = Store(directory / "s.db"), JobCache([])
        self.started: list[int] = []
        nodes: Any = Idle()
        self.dispatcher = Dispatcher(
            self.store,
            self.board,
            nodes,
            view_of(self.store, self.board),
            launch=self._launch,
            stop=lambda *_: None,
        )
        for key in ("1", "2"):
            self.board.put(self.store.submit(A, key, [new_job()])[0])

    def _launch(self, job: Job) -> None:
        self.started.append(job.id)

    def run(self, until: Callable[[], bool]) -> None:
        async def watch() -> None:
            task = asyncio.create_task(self.dispatcher.run())
            await self.dispatcher.decision()
            async with asyncio.timeout(10):
                while not until():
                    await asyncio.sleep(0.01)
            task.cancel()

        asyncio.run(watch())
        self.store.close()


def test_a_daemon_that_drains_decides_and_starts_nothing(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.dispatcher.draining = True
    box.run(lambda: True)
    assert box.started == []


def test_a_job_that_somebody_else_has_changed_does_not_keep_the_next_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path)
    start = box.store.start_attempt

    def late(job: int, *rest: Any) -> Job:
        if job == 1:
            raise StaleTransitionError("job 1 is CANCELLED")
        return start(job, *rest)

    monkeypatch.setattr(box.store, "start_attempt", late)
    box.run(lambda: box.started == [2])


def test_after_a_full_disk_it_is_tried_again_though_nothing_else_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path)
    start, failures = box.store.start_attempt, [1, 2]

    def full(*arguments: Any) -> Job:
        if failures:
            failures.pop()
            raise StoreError("the store cannot be written: database or disk is full")
        return start(*arguments)

    monkeypatch.setattr(box.store, "start_attempt", full)
    box.run(lambda: box.started == [1, 2])
    assert not failures
