"""What a dispatcher sees."""

from __future__ import annotations

from dataclasses import replace

from gpujobs.daemon.devices.drains import Drains
from gpujobs.daemon.devices.ledger import Ledger
from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Process
from gpujobs.policy import Rules
from gpujobs.store.store import Store

GPU = Device("n", DeviceKind.GPU, 0, "GPU-0", "fake")


BUSY = replace(GPU, processes=(Process(4711, "bob", 1, "python x.py"),))


class Nodes:
    """The device was free when it was read last; somebody is on it by now."""

    known = (Node("n", NodeStatus.OK, "", (GPU,)),)

    async def probe(self) -> list[Node]:
        return [Node("n", NodeStatus.OK, "", (BUSY,))]


def view_of(store: Store, board: JobCache) -> SnapshotBuilder:
    return SnapshotBuilder(
        board,
        Drains(store.devices),
        Ledger([], {}, 1e6),
        MemoryMonitor(board, store.usage),
        Membership(),
        store.reservations,
        Rules(),
    )
