"""One device in one decision: what is on it, what is left of it, for whom it is kept."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from gpujobs.demand import ANYWHERE, Place, is_called
from gpujobs.model import Device, DeviceKind, DeviceState
from gpujobs.policy.devices.memory import Tally, capacity_bytes, is_joinable, tally
from gpujobs.policy.devices.occupancy import Occupancy
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.inputs.rules import ForeignPolicy, Rules


class Shadow(NamedTuple):
    """A device kept for a job that waits and is ahead: others join only if they end before it can start,
    or fit beside it."""

    at: datetime
    """When it can probably start."""
    job: int
    spare_bytes: float
    """What the device will have left beside it."""


@dataclass(slots=True, eq=False)
class Plan:
    """`order` is the device's place among all. Changed by nobody but the pool, backfill and preemption."""

    order: int
    view: Occupancy
    memory: Tally
    capacity: float
    """Bytes that packed jobs together may have; infinite where memory is not known."""
    room: float
    """What is left of the capacity for another packed job."""
    is_free: bool = False
    is_shared: bool = False
    """Packed jobs are on it and another may join."""
    is_yielding: bool = False
    """Jobs of ours are on it, and when they leave others can come."""
    users: set[str] = field(default_factory=set)
    """Whose jobs share it."""
    given: tuple[Request, ...] = ()
    """What this decision starts here."""
    claimed: tuple[Request, ...] = ()
    """What waits until the device is freed for it."""
    shadow: Shadow | None = None

    @property
    def jobs(self) -> int:
        return len(self.view.jobs) + len(self.given)

    def is_at(self, place: Place) -> bool:
        if place is ANYWHERE:
            return True
        if place.without and any(self.view.device.node == node for node, _ in place.without):
            return False
        return is_at(self.view.device, place)

    def fits(self, request: Request, max_jobs: int) -> bool:
        """By what is on the device; reservations are another matter."""
        if request.need_bytes is None:
            return self.is_free
        if request.need_bytes > self.room:
            return False
        return self.is_free or (
            self.is_shared and self.jobs < max_jobs and self.is_open_beside_shadow(request)
        )

    def is_open_beside_shadow(self, request: Request) -> bool:
        shadow = self.shadow
        if shadow is None or request.ends_by <= shadow.at:
            return True
        return request.need_bytes is not None and request.need_bytes <= shadow.spare_bytes

    def take(self, request: Request) -> None:
        self.given = (*self.given, request)
        self.users.add(request.user)
        self.is_free, self.is_yielding = False, True
        self.is_shared = request.need_bytes is not None and not math.isinf(self.capacity)
        held = self.held_bytes(request)
        self.room = self.room - held if self.is_shared else 0.0
        if self.shadow is not None and request.ends_by > self.shadow.at:
            self.shadow = self.shadow._replace(spare_bytes=self.shadow.spare_bytes - held)

    def held_bytes(self, request: Request) -> float:
        """What the job takes of the capacity."""
        return self.capacity if request.need_bytes is None else request.need_bytes

    def left_without(self, gone: Collection[int]) -> tuple[bool, float]:
        """Whether the device is empty, and how many bytes it has for packed jobs, once the jobs in `gone`
        have left and those that have claimed a part of it are there."""
        left = [
            (one, planned)
            for one, planned in zip(self.view.allocations, self.memory.planned, strict=True)
            if one.job not in gone
        ]
        is_empty = not (left or self.claimed or self.given)
        if math.isinf(self.capacity):
            return is_empty, self.capacity if is_empty else 0.0
        held = [self.capacity if one.gpu_memory_bytes is None else planned for one, planned in left]
        held += [self.held_bytes(request) for request in (*self.claimed, *self.given)]
        return is_empty, self.capacity - sum(held)


def is_at(device: Device, place: Place) -> bool:
    """By what the job asks for; whether its machine can have it is another matter."""
    if place.nodes and device.node not in place.nodes:
        return False
    if place.gpu is None and place.gpu_name is None:
        return True
    if device.kind is not DeviceKind.GPU or place.gpu not in (None, device.index):
        return False
    return place.gpu_name is None or is_called(device.name, place.gpu_name)


def plan_of(order: int, view: Occupancy, is_usable: bool, settled: datetime, rules: Rules) -> Plan:
    """`is_usable`: its node is well. `settled`: see `memory.settled_since`."""
    memory = tally(view, settled)
    known = capacity_bytes(view.device, memory.others_bytes, rules.packing)
    capacity = math.inf if known is None else float(known)
    plan = Plan(order, view, memory, capacity, capacity)
    if not is_usable:
        return plan
    if not view.jobs:
        plan.is_free = _is_free(view, rules)
        return plan
    lone = not view.foreign or rules.foreign is ForeignPolicy.IGNORE
    plan.is_yielding = lone and view.state is DeviceState.BUSY and view.drained is None
    if known is not None and is_joinable(view, memory, rules):
        plan.is_shared = True
        plan.users.update([one.user for one in view.allocations])
        plan.room = capacity - sum(memory.planned)
    return plan


def _is_free(view: Occupancy, rules: Rules) -> bool:
    if view.state is DeviceState.FOREIGN:
        return rules.foreign is ForeignPolicy.IGNORE
    return view.state in (DeviceState.FREE, DeviceState.RESERVED)
