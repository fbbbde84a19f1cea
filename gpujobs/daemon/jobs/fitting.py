"""Whether the model that a check has built fits on any device that the job may have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpujobs.daemon.jobs.submissions import Prepared
from gpujobs.errors import JobFileError
from gpujobs.model import Device, DeviceKind, Node
from gpujobs.policy.devices.constraints import possible_devices
from gpujobs.policy.inputs.text import gib

CERTAIN = ("weights", "gradients", "optimizer")
"""Parts of the estimate (docs/check.md) that are counted and not estimated: less than these no training takes."""


@dataclass(frozen=True, slots=True)
class Room:
    """The most memory that a device has, and which one that is."""

    bytes: int
    name: str


def room(job: Prepared, nodes: Sequence[Node], own_node: str, main_memory_bytes: int) -> Room | None:
    """None where the memory of some device is not known. A CPU slot has the main memory of its box, which is known of
    the daemon's own."""
    found = [
        (_memory(device, own_node, main_memory_bytes), device)
        for device in possible_devices(job.resolved.demand, nodes)
    ]
    if not found or any(size is None for size, _ in found):
        return None
    size, device = max(found, key=lambda one: one[0] or 0)
    is_gpu = device.kind is DeviceKind.GPU
    what = (
        f"the largest GPU for it ({device.name} of {device.node})"
        if is_gpu
        else f"the main memory of {device.node}"
    )
    return Room(size or 0, what)


def require(job: Prepared, report: Mapping[str, Any], there: Room | None) -> Mapping[str, Any]:
    """The report, with a notice where the training is estimated to need more than there is. Raises JobFileError where
    what is certain of it is more already."""
    if there is None:
        return report
    sizes = {part["part"]: int(part["bytes"]) for part in report["memory"]}
    certain, whole = sum(sizes[part] for part in CERTAIN), int(report["memory_estimate_bytes"])
    if certain > there.bytes:
        message = (
            f"the model does not fit: its {int(report['parameters']):,} parameters take {gib(sizes['weights'])}, with "
            f"gradients and optimizer {gib(certain)}, and {there.name} has {gib(there.bytes)}; expected a smaller "
            "one, with fewer units or layers"
        )
        raise JobFileError([job.problem("model", message)])
    if whole <= there.bytes:
        return report
    notice = (
        f"the training may not fit: it needs about {gib(whole)}, and {there.name} has {gib(there.bytes)}; a smaller "
        "batch_size or window takes less"
    )
    return {**report, "notices": [*report["notices"], notice]}


def main_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _memory(device: Device, own_node: str, main_memory_bytes: int) -> int | None:
    if device.kind is DeviceKind.GPU:
        return device.memory_total_bytes
    return main_memory_bytes if device.node == own_node else None
