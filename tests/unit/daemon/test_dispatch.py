"""The dispatcher, with a real store and readings that the test decides about."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon import dispatch
from gpujobs.daemon import snapshot_builder as view_module
from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Job, Node, NodeStatus, Reason, utc_now
from gpujobs.policy import decide
from gpujobs.store.store import Store
from tests.unit.daemon.views import BUSY, GPU, Nodes, view_of
from tests.unit.store.jobs import A, having, new_job


def dispatcher_of(store: Store, cache: JobCache, nodes: Any, started: list[int], **more: Any) -> Dispatcher:
    """One that notes in `started` what it starts, and stops nothing."""
    return Dispatcher(
        StoreWriter(store, cache),
        cache,
        nodes,
        view_of(store, cache),
        launch=lambda job: started.append(job.id),
        stop=lambda *_: None,
        **more,
    )


def test_a_job_whose_time_has_come_starts_on_a_fresh_reading(tmp_path: Path) -> None:
    store, cache, started = Store(tmp_path / "s.db"), JobCache([]), list[int]()

    def launch(job: Job) -> None:
        started.append(job.id)

    nodes: Any = Nodes()
    dispatcher = Dispatcher(
        StoreWriter(store, cache), cache, nodes, view_of(store, cache), launch=launch, stop=lambda *_: None
    )
    (job,) = store.submit(A, "key", [having(new_job(), begin_at=utc_now() + timedelta(seconds=0.2))])
    cache.put(job)

    async def run() -> None:
        task = asyncio.create_task(dispatcher.run())
        dispatcher.wake()
        async with asyncio.timeout(10):
            while not started and (job.id not in cache.waits or _reason() is Reason.BEGIN_TIME):
                await asyncio.sleep(0.01)
        task.cancel()

    def _reason() -> Reason:
        return cache.waits[job.id].reason

    asyncio.run(run())
    assert (started, _reason()) == ([], Reason.FOREIGN_PROCESS)
    store.close()


def test_a_clock_that_is_set_lets_a_job_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else happens: the time of its timer is not that of the clock on the wall."""
    store, cache, started = Store(tmp_path / "s.db"), JobCache([]), list[int]()
    monkeypatch.setattr(dispatch, "CLOCK_SECONDS", 0.05)
    free: Any = Nodes()
    free.probe = lambda: asyncio.sleep(0, [Node("n", NodeStatus.OK, "", (GPU,))])
    view = view_of(store, cache)
    dispatcher = Dispatcher(
        StoreWriter(store, cache),
        cache,
        free,
        view,
        launch=lambda job: started.append(job.id),
        stop=lambda *_: None,
    )
    (job,) = store.submit(A, "key", [having(new_job(), begin_at=utc_now() + timedelta(hours=8))])
    cache.put(job)

    async def run() -> None:
        task = asyncio.create_task(dispatcher.run())
        dispatcher.wake()
        await asyncio.sleep(0.2)
        assert started == []
        for module in (dispatch, view_module):
            monkeypatch.setattr(module, "utc_now", lambda: utc_now() + timedelta(hours=9))
        async with asyncio.timeout(10):
            while not started:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert started == [job.id]
    store.close()


def test_no_more_is_started_where_a_job_may_not_and_the_next_one_is(tmp_path: Path) -> None:
    """The device of a job whose data is gone goes to another, at once."""
    store, cache, started = Store(tmp_path / "s.db"), JobCache([]), list[int]()
    free: Any = Nodes()
    free.probe = lambda: asyncio.sleep(0, [Node("n", NodeStatus.OK, "", (GPU,))])
    first, second = store.submit(A, "key", [new_job("first"), new_job("second")])
    cache.put(first)
    cache.put(second)

    def may_start(job: int) -> bool:
        if job == first.id:
            cache.put(store.set_held(job, True, "gpujobs"))
        return job != first.id

    dispatcher = dispatcher_of(store, cache, free, started, may_start=may_start)

    async def run() -> None:
        task = asyncio.create_task(dispatcher.run())
        dispatcher.wake()
        async with asyncio.timeout(10):
            while not started:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert started == [second.id]
    store.close()


def test_a_decision_that_fails_is_not_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, cache, started = Store(tmp_path / "s.db"), JobCache([]), list[int]()
    probed = 0

    class Failing(Nodes):
        async def probe(self) -> list[Node]:
            nonlocal probed
            probed += 1
            if probed == 1:
                raise RuntimeError("a bug")
            return [Node("n", NodeStatus.OK, "", (GPU,))]

    monkeypatch.setattr(dispatch, "LOOK_AGAIN_SECONDS", 0.01)
    nodes: Any = Failing()
    dispatcher = dispatcher_of(store, cache, nodes, started)
    (job,) = store.submit(A, "key", [new_job()])
    cache.put(job)

    async def run() -> None:
        task = asyncio.create_task(dispatcher.run())
        dispatcher.wake()
        async with asyncio.timeout(10):
            while not started:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert (started, probed) == ([job.id], 2)
    store.close()


def test_nothing_is_decided_anew_while_nothing_has_changed_and_again_when_something_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the devices are looked at: how warm one is changes nothing, a stranger who leaves does."""
    store, cache, started = Store(tmp_path / "s.db"), JobCache([]), list[int]()
    monkeypatch.setattr(dispatch, "LOOK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(dispatch, "LOOK_AGAIN_FIRST_SECONDS", 0.01)
    decisions, looks = 0, 0
    device = BUSY

    def counted(snapshot: Any) -> Any:
        nonlocal decisions
        decisions += 1
        return decide(snapshot)

    async def probe() -> list[Node]:
        nonlocal looks, device
        looks += 1
        device = replace(device, temperature_celsius=looks)
        return [Node("n", NodeStatus.OK, "", (device,))]

    monkeypatch.setattr(dispatch, "decide", counted)
    nodes: Any = Nodes()
    nodes.probe = probe
    dispatcher = dispatcher_of(store, cache, nodes, started)
    (job,) = store.submit(A, "key", [new_job()])
    cache.put(job)

    async def run() -> None:
        nonlocal device
        task = asyncio.create_task(dispatcher.run())
        dispatcher.wake()
        async with asyncio.timeout(10):
            while looks < 10:
                await asyncio.sleep(0.01)
            assert (decisions, started) == (1, [])
            await dispatcher.decision()
            assert decisions == 2
            device = replace(device, processes=())
            while not started:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(run())
    assert decisions == 3
    store.close()
