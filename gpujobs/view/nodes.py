"""Devices by the node that they are of, where there are several: a site of one box has no nodes to speak of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpujobs.model import DeviceKind, DeviceState, NodeStatus

AWAY = "away"
"""What a device is called whose node cannot be reached."""


@dataclass(frozen=True, slots=True)
class Block:
    """A node and its devices, as `GET /v1/gpus` has them. `says`: how it is; empty for the one node of a site."""

    name: str
    says: str
    is_away: bool
    devices: Sequence[Mapping[str, Any]]


def blocks(devices: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]) -> list[Block]:
    """One for each node, in their order; what is of none of them stands last."""
    statuses = {node["name"]: node for node in nodes}
    names = list(dict.fromkeys([*statuses, *(device["node"] for device in devices)]))
    several = len(names) > 1
    return [_block(name, statuses.get(name), devices, several) for name in names]


def _block(
    name: str, node: Mapping[str, Any] | None, devices: Sequence[Mapping[str, Any]], several: bool
) -> Block:
    mine = [device for device in devices if device["node"] == name]
    says = f"{name}: {_standing(node, mine)}" if several else ""
    return Block(name, says, node is not None and node["status"] == NodeStatus.DOWN, mine)


def _standing(node: Mapping[str, Any] | None, devices: Sequence[Mapping[str, Any]]) -> str:
    if node is not None and node["status"] != NodeStatus.OK:
        return str(node.get("message") or node["status"])
    return "; ".join(_free(devices)) or str((node or {}).get("message") or "no device is known yet")


def _free(devices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """`2 of 8 GPUs are free`"""
    for kind, noun in ((DeviceKind.GPU, "GPU"), (DeviceKind.CPU, "CPU slot")):
        of = [device for device in devices if device["kind"] == kind]
        free = sum(device["state"] == DeviceState.FREE for device in of)
        if of:
            plural, verb = "" if len(of) == 1 else "s", "is" if free == 1 else "are"
            yield f"{free} of {len(of)} {noun}{plural} {verb} free"


def state(device: Mapping[str, Any], block: Block) -> str:
    """What a device is called to be: of a node that cannot be reached, nobody knows."""
    return AWAY if block.is_away else str(device["state"])
