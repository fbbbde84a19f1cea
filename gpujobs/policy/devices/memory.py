"""The memory plan of a device that several jobs share, and which of them has outgrown its part.

    planned(ours) + in use by others + a new job's reservation <= total - margin

A settled job is planned with what it reserved or, if that is more, what it uses. One that has just started
is planned with its whole reservation on top of what is in use: it is not known yet how much of that is its.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from gpujobs.model import Device, DeviceState
from gpujobs.policy.devices.occupancy import IDLE_MEMORY_BYTES, Occupancy, occupancies
from gpujobs.policy.inputs.queue import Signature
from gpujobs.policy.inputs.rules import ForeignPolicy, PackingRules, Rules
from gpujobs.policy.inputs.snapshot import Snapshot

GROWTH = 1.25
"""A job that outgrew its reservation gets this times what it used."""


def need_bytes(signature: Signature, measured: Mapping[str, int]) -> int | None:
    """What a job of this signature must have of a shared device, at least 1; None for a whole one.
    `measured`: see Snapshot."""
    memory = signature.memory
    if isinstance(memory, tuple):
        family, estimate = memory
        memory = estimate if family is None else measured.get(family, estimate)
    return None if memory is None else max(1, memory)


def settled_since(now: datetime, packing: PackingRules) -> datetime:
    """Jobs that started then or before have settled."""
    return now - timedelta(seconds=packing.settle_seconds)


class Tally(NamedTuple):
    """The memory of one device."""

    planned: tuple[int, ...]
    """Bytes for each of our jobs on it, as if each shared it."""
    others_bytes: int
    """In use, but accounted for by none of our jobs."""
    is_measured: bool
    """Whether NVML tells the use of each of our jobs."""


NOTHING = Tally((), 0, True)


def tally(view: Occupancy, settled: datetime) -> Tally:
    """`settled`: see `settled_since`."""
    used = view.device.memory_used_bytes or 0
    if not view.allocations:
        return Tally((), used, True) if used else NOTHING
    planned, accounted, is_measured = [], 0, True
    for one in view.allocations:
        reserved, measured = one.gpu_memory_bytes or 0, one.measured_bytes
        is_settled = one.started_at is not None and one.started_at <= settled
        if measured is not None:
            accounted += measured
            planned.append(max(reserved, measured) if is_settled else reserved + measured)
        else:
            is_measured = False
            planned.append(reserved)
            # Of a packed one that has just started, nobody knows how much of what is in use is its.
            accounted += used if one.gpu_memory_bytes is None else reserved if is_settled else 0
    return Tally(tuple(planned), max(0, used - accounted), is_measured)


def capacity_bytes(device: Device, others_bytes: int, packing: PackingRules) -> int | None:
    """What all packed jobs together may have of the device; None where its memory is not known."""
    if device.memory_total_bytes is None:
        return None
    return device.memory_total_bytes - packing.margin_bytes - others_bytes


def is_joinable(view: Occupancy, memory: Tally, rules: Rules) -> bool:
    """Whether our jobs on this device share it, and nothing keeps another one from joining."""
    if view.state is not DeviceState.BUSY or view.drained is not None:
        return False
    if None in [one.gpu_memory_bytes for one in view.allocations]:
        return False
    if rules.foreign is ForeignPolicy.IGNORE:
        return True
    # As on a free device, more in use than our jobs and an idle driver account for is somebody hidden.
    is_hiding = memory.is_measured and memory.others_bytes > IDLE_MEMORY_BYTES
    return not view.foreign and not is_hiding


@dataclass(frozen=True, slots=True)
class Outgrown:
    """A packed job that must stop, since it uses more than it reserved and others would run out of memory."""

    job: int
    device_uuid: str
    used_bytes: int
    reservation_bytes: int | None
    """What it gets next time; None for a whole device."""


def outgrown(snapshot: Snapshot) -> list[Outgrown]:
    """At most one job for each device, and none where one is already stopping: look again when it has gone."""
    found = []
    for view in occupancies(snapshot):
        shared = len(view.allocations) > 1 and all(one.gpu_memory_bytes for one in view.allocations)
        if shared and not any(one.stopping for one in view.allocations):
            victim = _outgrown_on(view, snapshot.now, snapshot.rules.packing)
            found += [victim] if victim else []
    return found


def _outgrown_on(view: Occupancy, now: datetime, packing: PackingRules) -> Outgrown | None:
    capacity = capacity_bytes(view.device, tally(view, settled_since(now, packing)).others_bytes, packing)
    if capacity is None:
        return None
    needed = sum(max(one.gpu_memory_bytes or 0, one.measured_bytes or 0) for one in view.allocations)
    excess = {one.job: (one.measured_bytes or 0) - (one.gpu_memory_bytes or 0) for one in view.allocations}
    worst = max(view.allocations, key=lambda one: (excess[one.job], one.job))
    if needed <= capacity or excess[worst.job] <= 0:
        return None
    used = worst.measured_bytes or 0
    larger = round(used * GROWTH)
    return Outgrown(worst.job, view.device.uuid, used, larger if larger <= capacity else None)
