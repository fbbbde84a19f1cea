"""A hundred starts against foreign processes that come and go: the dispatcher, the store, the policy and the real
NVML binding. Only the trainers are missing: a start is a line in the fake library's file for a moment."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gpujobs.daemon.devices.drains import Drains
from gpujobs.daemon.devices.ledger import Ledger
from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.lifecycle import Finish
from gpujobs.model import Device, Job, Node, NodeStatus, Reason, State, StopReason, utc_now
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import Probe
from gpujobs.policy import Rules
from gpujobs.store.store import Store
from tests.fake_nvml import GIB, FakeGpus, box, uuid
from tests.unit.store.jobs import A, new_job

STARTS = 100
DEVICES = 4
DONE = {"state": "COMPLETED", "reason": "", "message": "", "exit": {"code": 0, "signal": None}}


class Readings(Nodes):
    """One node, whose devices are read by a probe of this process."""

    def __init__(self) -> None:
        self.probe_process = Probe()
        self.last: dict[str, Device] = {}

    @property
    def known(self) -> list[Node]:
        return [Node("box", NodeStatus.OK, "", tuple(self.last.values()))]

    async def probe(self) -> list[Node]:
        node = devices_of(await self.probe_process.read(), "box", None)
        self.last = {device.uuid: device for device in node.devices}
        return [node]


class Race:
    def __init__(self, directory: Path, gpus: FakeGpus) -> None:
        self.gpus = gpus
        self.chance = random.Random(0)
        self.store = Store(directory / "s.db")
        self.board = JobCache([])
        self.nodes = Readings()
        view = SnapshotBuilder(
            self.board,
            Drains(self.store.devices),
            Ledger([], {}, 1e6),
            MemoryMonitor(self.board, self.store.usage),
            Membership(),
            self.store.reservations,
            Rules(),
        )
        self.dispatcher = Dispatcher(
            self.store, self.board, self.nodes, view, launch=self.launch, stop=self.stop
        )
        self.pids = itertools.count(2_000_000_000)
        self.held: dict[str, int] = {}
        self.met: list[str] = []
        self.endings: set[asyncio.Task[None]] = set()

    def launch(self, job: Job) -> None:
        """Called by the dispatcher after the commit of a start."""
        assert job.current is not None
        device = job.current.device_uuid
        assert device not in self.held, f"jobs {self.held[device]} and {job.id} on {device}"
        self.met += [f"job {job.id}: {p.pid}" for p in self.nodes.last[device].processes]
        self.held[device] = job.id
        task = asyncio.get_running_loop().create_task(self._life(job, device))
        self.endings.add(task)
        task.add_done_callback(self.endings.discard)

    def stop(self, job: Job, reason: StopReason, message: str) -> None:
        raise AssertionError(f"job {job.id} should not be stopped: {reason}")

    async def _life(self, job: Job, device: str) -> None:
        pid = next(self.pids)
        line = (int(device[-12:]), "C", pid, GIB)
        self._show(lambda: self.gpus.processes.append(line))
        self.board.put(self.store.mark_running(job.id, job.attempt, pid, utc_now()))
        await asyncio.sleep(self.chance.uniform(0.005, 0.05))
        self._show(lambda: self.gpus.processes.remove(line))
        self.board.put(self.store.mark_completing(job.id, job.attempt, DONE))
        del self.held[device]
        self.board.put(self.store.finish(job.id, Finish(State.COMPLETED, Reason.NONE, ""), "/r"))
        self.dispatcher.wake()

    def _show(self, change: Callable[[], None]) -> None:
        change()
        self.gpus.write()

    async def strangers(self) -> None:
        """One process of somebody else's, which moves from device to device, and is away in between."""
        while True:
            line = (self.chance.randrange(DEVICES), "C", 1, 2 * GIB)
            self._show(lambda line=line: self.gpus.processes.append(line))  # type: ignore[misc]
            await asyncio.sleep(self.chance.uniform(0.01, 0.1))
            self._show(lambda line=line: self.gpus.processes.remove(line))  # type: ignore[misc]
            await asyncio.sleep(self.chance.uniform(0, 0.03))

    async def run(self) -> None:
        for job in self.store.submit(A, "race", [new_job(f"j{n}") for n in range(STARTS)]):
            self.board.put(job)
        tasks = [asyncio.create_task(self.dispatcher.run()), asyncio.create_task(self.strangers())]
        self.dispatcher.wake()
        async with asyncio.timeout(120):
            while self.board.jobs:
                await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await self.nodes.probe_process.close()


def test_a_hundred_starts_race_with_foreign_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = box(tmp_path, DEVICES)
    for name, value in gpus.environment.items():
        monkeypatch.setenv(name, value)
    race = Race(tmp_path, gpus)
    asyncio.run(race.run())
    assert race.met == [], "started where the reading had shown somebody else"
    assert race.store.counts() == {"COMPLETED": STARTS}
    attempts = [attempt for job in range(1, STARTS + 1) for attempt in race.store.attempts(job)]
    assert len(attempts) == STARTS, "none was started twice"
    assert {attempt.device_uuid for attempt in attempts} == {uuid(index) for index in range(DEVICES)}
    race.store.close()
