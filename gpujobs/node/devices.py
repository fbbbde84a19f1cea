"""From a reading of NVML to the devices of a node: GPUs, or CPU slots where there is no GPU."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.protocol.reading import Reading, ReadingStatus


def devices_of(reading: Reading, node: str, cpu_slots: int | None) -> Node:
    """A driver that fails gives no device at all: a GPU box must not quietly train on its CPU."""
    if reading.status is ReadingStatus.FAILED:
        return Node(node, NodeStatus.DRIVER_ERROR, reading.message)
    if reading.status is ReadingStatus.OK and reading.devices:
        return Node(node, NodeStatus.OK, "", tuple(replace(device, node=node) for device in reading.devices))
    found = "the NVIDIA driver shows no GPU" if reading.status is ReadingStatus.OK else reading.message
    slots = cpu_slots_of(node, cpu_slots)
    slots_said = f"{len(slots)} CPU slot{'' if len(slots) == 1 else 's'}"
    return Node(node, NodeStatus.OK, f"{found}: training on {slots_said}", slots)


def cpu_slots_of(node: str, count: int | None) -> tuple[Device, ...]:
    """`count` None gives one for each two cores that this process may use, and at least one."""
    number = count or max(1, len(os.sched_getaffinity(0)) // 2)
    name = cpu_name()
    return tuple(Device(node, DeviceKind.CPU, index, f"CPU-{node}-{index}", name) for index in range(number))


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Processor")):
            return line.partition(":")[2].strip()
    return os.uname().machine
