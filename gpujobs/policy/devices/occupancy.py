"""Who is on a device: our jobs, and processes that are not ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from gpujobs.model import Device, DeviceKind, DeviceState, Process
from gpujobs.policy.devices.reservations import ReservationWindow, Terms, current, terms_by_device
from gpujobs.policy.inputs.snapshot import Allocation, Snapshot
from gpujobs.policy.inputs.text import gib, instant, listing

IDLE_MEMORY_BYTES = 1 << 30
"""A GPU with no visible process but more than this in use is not free: container and driver limits
hide processes. An idle data-centre GPU shows up to some hundred MiB of the driver's own."""


class Occupancy(NamedTuple):
    """What is on a device, and what keeps an ordinary job off it."""

    device: Device
    state: DeviceState
    jobs: tuple[int, ...]
    foreign: tuple[Process, ...]
    allocations: Sequence[Allocation] = ()
    """Ours, one for each of `jobs`."""
    terms: Terms = ()
    """What is reserved of it."""
    hold: ReservationWindow | None = None
    """The reservation of this moment."""
    drained: str | None = None
    """Why nothing more is started on it, also while our jobs still run there."""
    names_people: bool = True

    @property
    def message(self) -> str:
        """What keeps a job off this device, in words; empty when it is free."""
        return self.in_words(label(self.device))

    def in_words(self, name: str) -> str:
        """As `message`; `name`: what the device is called."""
        return _in_words(self, name)

    def holder(self, hold: ReservationWindow) -> str:
        """Whom a reservation is for, as far as people may be named."""
        return hold.holder if self.names_people else "others"


def occupancy(
    device: Device,
    allocations: Sequence[Allocation],
    drained: str | None = None,
    terms: Terms = (),
    now: datetime | None = None,
    names_people: bool = True,
) -> Occupancy:
    """`allocations` are those of this device; `drained` says why it starts nothing, where it is drained;
    `terms` count as of `now`."""
    jobs = tuple([allocation.job for allocation in allocations])
    foreign: tuple[Process, ...] = ()
    if device.processes:
        ours = {allocation.pid for allocation in allocations}
        foreign = tuple([process for process in device.processes if process.pid not in ours])
    hold = current(terms, now) if terms and now is not None else None
    if device.fault is not None:
        state = DeviceState.LOST
    elif jobs:
        state = DeviceState.BUSY
    elif drained is not None:
        state = DeviceState.DRAINED
    elif foreign or _hides_somebody(device):
        state = DeviceState.FOREIGN
    else:
        state = DeviceState.FREE if hold is None else DeviceState.RESERVED
    return Occupancy(device, state, jobs, foreign, allocations, terms, hold, drained, names_people)


def occupancies(snapshot: Snapshot) -> list[Occupancy]:
    """The occupancy of every device, in the order of nodes and indices."""
    by_device: dict[tuple[str, str], list[Allocation]] = {}
    for allocation in snapshot.allocations:
        by_device.setdefault((allocation.node, allocation.device_uuid), []).append(allocation)
    terms = terms_by_device(snapshot.reservations, snapshot.now)
    excluded = dict.fromkeys(snapshot.rules.excluded, "excluded by the site's configuration")
    drained = {**excluded, **snapshot.drained}
    return [
        occupancy(
            device,
            by_device.get((node.name, device.uuid), ()),
            drained.get(device.uuid),
            terms.get(device.uuid, ()),
            snapshot.now,
            snapshot.rules.names_people,
        )
        for node in snapshot.nodes
        for device in node.devices
    ]


def label(device: Device) -> str:
    """How people call a device: `GPU 2`, `CPU slot 0`."""
    return f"{'GPU' if device.kind is DeviceKind.GPU else 'CPU slot'} {device.index}"


def label_of(node: str | None, device: Device) -> str:
    """With its machine, where one is to be told: `GPU 2 of box2`."""
    return label(device) if node is None else f"{label(device)} of {node}"


def _hides_somebody(device: Device) -> bool:
    return device.kind is DeviceKind.GPU and (device.memory_used_bytes or 0) > IDLE_MEMORY_BYTES


def _in_words(view: Occupancy, name: str) -> str:
    if view.state is DeviceState.LOST:
        return f"{name}: {view.device.fault}"
    if view.state is DeviceState.BUSY:
        return f"{name} is used by {'job' if len(view.jobs) == 1 else 'jobs'} {listing(view.jobs)}"
    if view.state is DeviceState.DRAINED:
        return f"{name} is drained: {view.drained}"
    if view.state is DeviceState.FOREIGN and view.foreign:
        return f"{name} is used by {_describe(view.foreign, view.names_people)}"
    if view.state is DeviceState.FOREIGN:
        used = gib(view.device.memory_used_bytes or 0)
        return f"{name} has {used} in use by a process that the driver does not show"
    if view.hold is not None:
        return f"{name} is reserved for {view.holder(view.hold)} until {instant(view.hold.ends_at)}"
    return ""


def _describe(foreign: tuple[Process, ...], names_people: bool) -> str:
    first = foreign[0]
    owner = f" of {first.user}" if first.user and names_people else ""
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    return f"pid {first.pid}{owner}{more}"
