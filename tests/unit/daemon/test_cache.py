"""What those hear who watch: of another message too, and nothing that was not decided."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.jobs.cache import UNDECIDED, JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Reason
from gpujobs.policy import PendingReason
from gpujobs.store.store import Store
from tests.unit.daemon.views import Nodes, view_of
from tests.unit.store.jobs import A, new_job


@pytest.fixture
def cache(tmp_path: Path) -> JobCache:
    store = Store(tmp_path / "s.db")
    return JobCache(store.submit(A, "k", [new_job(), new_job()]))


def test_another_message_is_news(cache: JobCache) -> None:
    async def heard() -> list[list[int]]:
        watcher = cache.watch(frozenset({1, 2}))
        found = []
        for ahead in ("2 jobs are ahead", "2 jobs are ahead", "1 job is ahead"):
            used = PendingReason(Reason.RESOURCES, "GPU 0 is used")
            cache.set_waits({1: used, 2: PendingReason(Reason.PRIORITY, ahead)})
            cache.tell(1)  # so that there is something to hear
            found.append(sorted(await watcher.changed()))
        return found

    assert asyncio.run(heard()) == [[1, 2], [1], [1, 2]]


def test_a_job_that_has_changed_waits_for_the_next_decision(cache: JobCache) -> None:
    cache.set_waits({1: PendingReason(Reason.HELD, "held")})
    assert cache.wait_of(1) == PendingReason(Reason.HELD, "held")
    cache.put(replace(cache.jobs[1], held=False))
    assert cache.wait_of(1) == UNDECIDED
    cache.put(replace(cache.jobs[1], held=True))
    assert cache.wait_of(1) == PendingReason(Reason.HELD, "held"), "its own reason needs no decision"


def test_who_asks_for_a_decision_gets_it(tmp_path: Path) -> None:
    store, cache = Store(tmp_path / "s.db"), JobCache([])
    nodes: Any = Nodes()
    dispatcher = Dispatcher(
        StoreWriter(store, cache),
        cache,
        nodes,
        view_of(store, cache),
        launch=lambda _: None,
        stop=lambda *_: None,
    )

    async def released() -> PendingReason | None:
        loop = asyncio.create_task(dispatcher.run())
        (job,) = store.submit(A, "key", [new_job()])
        cache.put(job)
        await dispatcher.decision(30.0)
        loop.cancel()
        return cache.wait_of(job.id)

    found = asyncio.run(released())
    assert found is not None and found.reason is Reason.FOREIGN_PROCESS
    store.close()
