"""A box of GPUs whose jobs come, run, grow and end while strangers come and go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from gpujobs.model import Node, NodeStatus, Process
from gpujobs.policy import Allocation, PendingJob, Queue, Reservation, Rules, Snapshot, Usage, decide
from gpujobs.policy.inputs.rules import Limits, Shares, UserLimits
from gpujobs.policy.users.fairshare import with_attempt

from .box import GIB, NOW, asking, check, gpu, pending
from .slow import decide_slowly

STRANGER = 1
RULES = Rules(
    shares=Shares(users={"a": 2.0}, groups={"vision": 1.0}),
    limits=Limits(users={"c": UserLimits(max_running=3, max_gpus=2)}),
)


@dataclass
class Running:
    job: PendingJob
    allocation: Allocation
    used_bytes: int = 0


class World:
    """`devices` GPUs of 80 GiB; users a and b, in group vision, and c. Nothing here is random."""

    def __init__(self, devices: int, rules: Rules = RULES) -> None:
        self.devices = devices
        self.rules = rules
        self.now = NOW
        self.queue = Queue()
        self.running: dict[int, Running] = {}
        self.strangers: set[int] = set()
        self.drained: dict[str, str] = {}
        self.usage: dict[str, Usage] = {}
        self.reservations: list[Reservation] = []
        self.started = 0
        self._next_id = 1

    def submit(self, **values: Any) -> None:
        self.queue.add(pending(self._next_id, submitted_at=self.now, **values))
        self._next_id += 1

    def change(self, which: int, **values: Any) -> None:
        """Holds, releases or re-prioritises a waiting job."""
        waiting = sorted(job.id for job in self.queue)
        if waiting:
            self.queue.replace(asking(self.queue[waiting[which % len(waiting)]], **values))

    def cancel(self, which: int) -> None:
        waiting = sorted(job.id for job in self.queue)
        if waiting:
            self.queue.remove(waiting[which % len(waiting)])

    def end(self, which: int) -> None:
        running = sorted(self.running)
        if running:
            self._leave(running[which % len(running)])

    def stop(self) -> None:
        """Those who were told to stop have stopped, and go back to the queue."""
        for id, one in list(self.running.items()):
            if one.allocation.stopping:
                self._leave(id)
                self.queue.add(one.job)

    def grow(self, which: int, bytes: int) -> None:
        running = sorted(self.running)
        if running:
            self.running[running[which % len(running)]].used_bytes = bytes

    def come_and_go(self, index: int) -> None:
        self.strangers ^= {index % self.devices}

    def drain(self, index: int) -> None:
        uuid = f"GPU-{index % self.devices}"
        if self.drained.pop(uuid, None) is None:
            self.drained[uuid] = "tested"

    def reserve(self, index: int, begin_seconds: float, seconds: float, **holder: str) -> None:
        begin = self.now + timedelta(seconds=begin_seconds)
        end = begin + timedelta(seconds=seconds)
        id, uuid = len(self.reservations) + 1, f"GPU-{index % self.devices}"
        self.reservations.append(Reservation(id, uuid, begin, end, **holder))

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self.now,
            waiting=self.queue,
            nodes=[self._node()],
            allocations=[self._measured(one) for one in self.running.values()],
            drained=self.drained,
            usage=self.usage,
            rules=self.rules,
            reservations=self.reservations,
            groups={"a": ("vision",), "b": ("users", "vision")},
        )

    def dispatch(self, *, twice: bool = False) -> None:
        """Decides, checks what was decided, and does it. `twice` decides again: from a plain sequence in
        another order, and by looking at every job."""
        snapshot = self.snapshot()
        decision = decide(snapshot)
        check(snapshot, decision)
        if twice:
            assert decision == decide(replace(snapshot, waiting=sorted(self.queue, key=lambda job: -job.id)))
            assert (decision.starts, decision.preemptions) == decide_slowly(snapshot)
        assert decision.next_change_at is None or decision.next_change_at > self.now
        for start in decision.starts:
            job = self.queue.remove(start.job)
            limit = job.demand.time_limit_seconds
            allocation = Allocation(
                job.id,
                start.node,
                start.device_uuid,
                pid=1000 + job.id,
                user=job.user,
                started_at=self.now,
                gpu_memory_bytes=start.gpu_memory_bytes,
                demand=job.demand,
                expected_end=self.now + timedelta(seconds=limit) if limit else None,
            )
            assert int(start.device_uuid.removeprefix("GPU-")) not in self.strangers
            self.running[job.id] = Running(job, allocation)
            self.started += 1
        for one in decision.preemptions:
            running = self.running[one.job]
            running.allocation = replace(running.allocation, stopping=True)
        self.check()

    def check(self) -> None:
        """No device is booked twice, whatever has happened."""
        for index in range(self.devices):
            here = [
                one.allocation
                for one in self.running.values()
                if one.allocation.device_uuid == f"GPU-{index}"
            ]
            whole = [one for one in here if one.gpu_memory_bytes is None]
            assert not whole or len(here) == 1, f"GPU {index} is held by {here}"
            assert (
                sum(one.gpu_memory_bytes or 0 for one in here) <= 80 * GIB - self.rules.packing.margin_bytes
            )
        assert not self.running.keys() & {job.id for job in self.queue}

    def _leave(self, id: int) -> None:
        one = self.running.pop(id).allocation
        assert one.started_at is not None
        half_life = self.rules.priority.half_life_seconds
        self.usage[one.user] = with_attempt(
            self.usage.get(one.user), 1.0, one.started_at, self.now, half_life
        )

    def _measured(self, one: Running) -> Allocation:
        return replace(one.allocation, measured_bytes=one.used_bytes or None)

    def _node(self) -> Node:
        devices = []
        for index in range(self.devices):
            here = [one for one in self.running.values() if one.allocation.device_uuid == f"GPU-{index}"]
            found = [
                Process(1000 + one.job.id, one.job.user, one.used_bytes, "trainer")
                for one in here
                if one.used_bytes
            ]
            if index in self.strangers:
                found.append(Process(STRANGER, "bob", 5 * GIB, "python"))
            used = sum(process.memory_bytes or 0 for process in found)
            devices.append(gpu(index, processes=tuple(found), memory_used_bytes=used))
        return Node("n", NodeStatus.OK, "", tuple(devices))
