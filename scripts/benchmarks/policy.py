"""How long the policy takes for one decision after one event, over the number of waiting jobs.

A site at work: every device is in use, the queue is long, then one job ends (or one is submitted), and the
policy decides. Milliseconds as minimum, median and maximum; garbage collection included, as in the daemon.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.support.options import Options
from benchmarks.support.rows import Row
from benchmarks.support.timing import timed
from gpujobs.demand import Demand
from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Process
from gpujobs.policy import Allocation, PendingJob, Queue, Snapshot, Usage, decide

AT_MOST_MS = 100.0
DEVICES = 1000
USERS = 500
REPEAT = 15
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
CASES = (
    "one ends, whole devices",
    "one ends, half of them shared",
    "one is submitted",
    "a higher class comes",
)
GIB = 1 << 30
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PACKED = 8
"""Jobs on a shared device, of 9.8 GiB each: 1.1 of its 80 GiB are left."""


@dataclass(frozen=True)
class Measurement:
    case: str
    waiting: int
    values: tuple[float, ...]
    """Milliseconds of a decision."""


class Site:
    """`devices` GPUs in boxes of eight, all in use."""

    def __init__(self, devices: int, users: int, waiting: int, *, shared: float, preemptible: bool) -> None:
        chance = random.Random(0)
        self.users = [f"user{number}" for number in range(users)]
        self.allocations: list[Allocation] = []
        boxes = [list(range(first, min(first + 8, devices))) for first in range(0, devices, 8)]
        self.nodes = [
            Node(f"n{number}", NodeStatus.OK, "", tuple(self._device(i, number, chance, shared) for i in box))
            for number, box in enumerate(boxes)
        ]
        if preemptible:
            self.allocations = [replace(one, demand=Demand(preemptible=True)) for one in self.allocations]
        self.queue = Queue(self._waiting(id, chance) for id in range(1_000_000, 1_000_000 + waiting))
        self.usage = {user: Usage(chance.uniform(0, 1e6), NOW) for user in self.users}

    def snapshot(self) -> Snapshot:
        return Snapshot(NOW, self.queue, self.nodes, self.allocations, usage=self.usage)

    def end_one(self) -> None:
        """A job in the middle ends, and its process has gone."""
        ended = self.allocations.pop(len(self.allocations) // 2)
        self.nodes = [
            node
            if node.name != ended.node
            else replace(node, devices=tuple(self._without(device, ended) for device in node.devices))
            for node in self.nodes
        ]

    def submit(self, priority: int = 0) -> None:
        user = self.users[len(self.users) // 2]
        self.queue.add(PendingJob(2_000_000, Demand(priority), user=user, submitted_at=NOW))

    def _device(self, index: int, box: int, chance: random.Random, shared: float) -> Device:
        jobs = PACKED if chance.random() < shared else 1
        memory = int(9.8 * GIB) if jobs > 1 else None
        found = []
        for _ in range(jobs):
            id = len(self.allocations) + 1
            used = memory or 40 * GIB
            found.append(Process(10_000 + id, "user", used, "trainer"))
            self.allocations.append(
                Allocation(
                    id,
                    f"n{box}",
                    f"GPU-{index}",
                    10_000 + id,
                    user=chance.choice(self.users),
                    started_at=NOW - timedelta(seconds=chance.randint(100, 90_000)),
                    gpu_memory_bytes=memory,
                    measured_bytes=used,
                    expected_end=NOW + timedelta(seconds=chance.randint(1, 90_000)),
                )
            )
        used = sum(process.memory_bytes or 0 for process in found)
        uuid = f"GPU-{index}"
        return Device(
            f"n{box}", DeviceKind.GPU, index % 8, uuid, "H100", 80 * GIB, used, processes=tuple(found)
        )

    def _waiting(self, id: int, chance: random.Random) -> PendingJob:
        priority = chance.choice((0, 0, 0, -1))
        requested_gpu = chance.choice((*[None] * 19, chance.randrange(8)))
        user = chance.choice(self.users)
        submitted_at = NOW - timedelta(seconds=chance.randint(0, 600_000))
        gpu_memory = chance.choice((None, None, 2 * GIB, 4 * GIB, 8 * GIB, 12 * GIB))
        limit = chance.choice((None, 3600, 4 * 3600, 86_400))
        demand = Demand(priority, requested_gpu, gpu_memory, time_limit_seconds=limit)
        return PendingJob(id, demand, user, submitted_at)

    @staticmethod
    def _without(device: Device, ended: Allocation) -> Device:
        left = tuple(process for process in device.processes if process.pid != ended.pid)
        used = sum(process.memory_bytes or 0 for process in left)
        return replace(device, processes=left, memory_used_bytes=used)


def site_of(case: str, waiting: int) -> Site:
    shared = 0.5 if "shared" in case else 0.0
    site = Site(DEVICES, USERS, waiting, shared=shared, preemptible="class" in case)
    if "ends" in case:
        site.end_one()
    else:
        site.submit(priority=1 if "class" in case else 0)
    return site


def measure(options: Options) -> list[Row]:
    """Rows of the longest queue; the plot has them all."""
    sizes = [size for size in SIZES if size <= options.longest_queue]
    found = [time_of(case, waiting) for case in CASES for waiting in sizes]
    if options.plots is not None:
        draw(found, f"{DEVICES:,} devices, {USERS} users", options.plots / "policy.png")
    return [
        Row(f"{one.waiting:,} waiting, {DEVICES:,} devices: {one.case}", "ms", one.values, AT_MOST_MS)
        for one in found
        if one.waiting == sizes[-1]
    ]


def time_of(case: str, waiting: int) -> Measurement:
    snapshot = site_of(case, waiting).snapshot()
    decide(snapshot)
    return Measurement(case, waiting, tuple(1000 * timed(lambda: decide(snapshot)) for _ in range(REPEAT)))


def draw(found: Sequence[Measurement], title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for case in dict.fromkeys(one.case for one in found):
        mine = [one for one in found if one.case == case]
        x, y = [one.waiting for one in mine], [statistics.median(one.values) for one in mine]
        below = [statistics.median(one.values) - min(one.values) for one in mine]
        above = [max(one.values) - statistics.median(one.values) for one in mine]
        axes.errorbar(x, y, [below, above], marker="o", capsize=3, linewidth=1.2, label=case)
    first, last = min(one.waiting for one in found), max(one.waiting for one in found)
    base = min(statistics.median(one.values) for one in found if one.waiting == first)
    x = [first * (last / first) ** (part / 20) for part in range(21)]
    scale = base / (first * math.log(first))
    axes.plot(x, [scale * n * math.log(n) for n in x], "--", color="grey", label="n log n")
    axes.axhline(100, color="firebrick", linewidth=0.8, linestyle=":", label="100 ms")
    axes.set(
        xscale="log", yscale="log", xlabel="waiting jobs", ylabel="one decision, ms (median; min to max)"
    )
    axes.set_title(title)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110)
