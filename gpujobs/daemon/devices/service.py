"""What people ask of devices: what is on them, draining, and reservations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gpujobs.cluster import roster
from gpujobs.daemon.devices.admission import NodeAdmission
from gpujobs.daemon.devices.drains import Drains, named
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import NotFoundError, UsageError
from gpujobs.model import Device, Node, NodeStatus
from gpujobs.policy import Occupancy, Reservation, occupancies
from gpujobs.policy.devices.occupancy import label_of
from gpujobs.policy.devices.reservations import check_reservation
from gpujobs.policy.inputs.rules import ReservationRules
from gpujobs.protocol.instructions import Stray
from gpujobs.store.devices import DeviceEvent, Devices
from gpujobs.store.reservations import Reservations
from gpujobs.store.store import Store


@dataclass(frozen=True, slots=True)
class DeviceService:
    """Who may do it was asked before. Raises UsageError for a device that does not exist."""

    nodes: Nodes
    snapshots: SnapshotBuilder
    drains: Drains
    history: Devices
    bookings: Reservations
    writer: StoreWriter
    in_force: InForce
    admission: NodeAdmission
    roster: Path
    """The file that names the boxes of this cluster."""
    changed: Observers[[]]
    """Told of whatever may let a job start."""

    @property
    def strays(self) -> tuple[Stray, ...]:
        """Trainers that no job knows, as of the last look."""
        return self.admission.strays

    @property
    def rules(self) -> ReservationRules:
        return self.in_force.rules.reservations

    async def seen(self) -> list[Node]:
        """The nodes with their devices, asked at this moment."""
        return await self.nodes.seen()

    def occupancies(self, nodes: Sequence[Node]) -> list[Occupancy]:
        return occupancies(self.snapshots.snapshot(nodes))

    def nodes_of_jobs(self) -> dict[str, list[int]]:
        """The jobs that have a device of each node."""
        found: dict[str, list[int]] = {}
        for allocation in self.snapshots.allocations():
            found.setdefault(allocation.node, []).append(allocation.job)
        return found

    def remove_node(self, name: str) -> None:
        """Strikes out a box that is away. Raises UsageError where it is not, or has jobs."""
        node = next((node for node in self.nodes.known if node.name == name), None)
        if node is None or not self.nodes.is_remote(name):
            known = ", ".join(n.name for n in self.nodes.known if self.nodes.is_remote(n.name)) or "none"
            raise NotFoundError(f"{name} is no other box of this queue; expected one of {known}")
        if node.status is not NodeStatus.DOWN:
            raise UsageError(f"{name} is a member now; end `gpujobs node join` there first")
        if jobs := self.nodes_of_jobs().get(name):
            raise UsageError(
                f"job {jobs[0]} may still run on {name}; it goes back to the queue when the lease of {name} has ended"
            )
        if jobs := self.snapshots.awaited_from(name):
            raise UsageError(
                f"the results of job {jobs[0]} are on {name} still; they come when it is back: `gpujobs "
                f"cancel {jobs[0]}` "
                "does without them"
            )
        roster.remove(self.roster, name)
        self.admission.forget(name)

    def events(self, device: Device) -> list[DeviceEvent]:
        return self.history.events(device.uuid)

    async def drain(self, devices: Sequence[Device], reason: str, actor: str) -> None:
        await self.writer.patient(lambda: self.drains.drain(devices, reason, actor))
        self.changed.tell()

    async def resume(self, devices: Sequence[Device], actor: str) -> None:
        await self.writer.patient(lambda: self.drains.resume(devices, actor))
        self.changed.tell()

    def named(self, names: Sequence[str]) -> list[Device]:
        return named(self.nodes.known, names)

    def reservations(self) -> list[Reservation]:
        return self.bookings.current()

    async def reserve(
        self, wanted: Sequence[Reservation], devices: Sequence[Device], actor: str, now: datetime
    ) -> list[Reservation]:
        """All of them or none: raises UsageError where one may not be, beside those that there are."""
        made = await self.writer.patient(lambda: self._reserve(wanted, devices, actor, now))
        self.changed.tell()
        return made

    def _reserve(
        self, wanted: Sequence[Reservation], devices: Sequence[Device], actor: str, now: datetime
    ) -> list[Reservation]:
        existing = self.bookings.current()
        known = [device.uuid for device in devices]
        for one, device in zip(wanted, devices, strict=True):
            name = label_of(device.node if self.nodes.has_others else None, device)
            check_reservation(one, existing, known, now, self.rules, name)

        def add(store: Store) -> list[Reservation]:
            return [store.reservations.add(one, actor) for one in wanted]

        return self.writer.do(add)

    async def unreserve(self, number: int, actor: str) -> None:
        await self.writer.patient(
            lambda: self.writer.do(lambda store: store.reservations.cancel(number, actor))
        )
        self.changed.tell()
