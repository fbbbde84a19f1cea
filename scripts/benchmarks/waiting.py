"""With ten thousand jobs waiting: `status`, and one decision of the policy."""

from __future__ import annotations

from benchmarks.bulk import write_sweep
from benchmarks.support.daemon import running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row
from benchmarks.support.timing import timed
from gpujobs.demand import Demand
from gpujobs.model import Device, DeviceKind, Node, NodeStatus, utc_now
from gpujobs.policy import Allocation, PendingJob, Queue, Snapshot, decide

STATUS_AT_MOST_SECONDS = 0.5
DECISION_AT_MOST_MS = 50.0
CALL = 1000
"""Jobs that one submission makes."""


def measure(options: Options) -> list[Row]:
    title = f"{options.waiting:,} jobs waiting"
    return [
        Row(f"{title}: status", "s", status(options), STATUS_AT_MOST_SECONDS),
        Row(f"{title}: one decision", "ms", decisions(options), DECISION_AT_MOST_MS),
    ]


def status(options: Options) -> tuple[float, ...]:
    """They are held, so that nothing else happens meanwhile."""
    with running(options.slots, options.daemon) as daemon:
        call = min(CALL, options.waiting)
        sweep = write_sweep(daemon.root, call)
        for _ in range(options.waiting // call):
            daemon.run("submit", "--hold", sweep)
        return tuple(timed(lambda: daemon.run("status")) for _ in range(options.commands))


def decisions(options: Options) -> tuple[float, ...]:
    """Eight devices, of which one has just become free: a job has started, the next one's turn is sought.

    The queue is kept from one event to the next, as the daemon keeps it.
    """
    devices = tuple(Device("box", DeviceKind.GPU, index, f"GPU-{index}", "GPU") for index in range(8))
    held = [Allocation(index, "box", device.uuid) for index, device in enumerate(devices[1:], 1)]
    waiting = [PendingJob(number, Demand(number % 7)) for number in range(100, 100 + options.waiting)]
    queue = Queue(waiting)

    def decision() -> None:
        started = decide(Snapshot(utc_now(), queue, [Node("box", NodeStatus.OK, "", devices)], held)).starts
        queue.remove(started[0].job)
        queue.add(PendingJob(started[0].job + options.waiting, Demand(3)))

    return tuple(1000 * timed(decision) for _ in range(options.commands))
