"""Whether any device of the site could ever be a job's, whatever is free: by node, number, name and memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gpujobs.demand import Demand, either, is_called
from gpujobs.errors import UsageError
from gpujobs.model import Device, DeviceKind, Node
from gpujobs.policy.inputs.rules import PackingRules
from gpujobs.policy.inputs.text import SHOWN, count, gib, listing


class ConstraintError(UsageError):
    """`key`: the one of the job file that leaves no device."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def check_constraints(asked: Demand, nodes: Sequence[Node], packing: PackingRules) -> None:
    """Raises ConstraintError for the first constraint that leaves no device of those that the ones before it left,
    with what there is. Where a node's devices are not known (it starts, or is away), they may be what is asked for.
    """
    devices = possible_devices(asked, nodes)
    if devices and isinstance(asked.gpu_memory, int):
        _check_memory(asked, devices, packing, len(nodes) > 1)


def possible_devices(asked: Demand, nodes: Sequence[Node]) -> list[Device]:
    """Those that may be the job's by node, number and name; none where a node's are not known. Raises ConstraintError
    as `check_constraints` does."""
    mine = _named(asked.nodes, nodes)
    if not all(node.devices for node in mine):
        return []
    devices = [device for node in mine for device in node.devices]
    where = "this site" if not asked.nodes else either(asked.nodes)
    if asked.requested_gpu is not None:
        devices = _numbered(asked.requested_gpu, devices, where if len(nodes) > 1 else "this box")
    if asked.gpu_name is not None:
        devices = _called(asked.gpu_name, devices, where, len(nodes) > 1)
    return devices


def _named(names: Collection[str], nodes: Sequence[Node]) -> list[Node]:
    known = [node.name for node in nodes]
    unknown = [name for name in names if name not in known]
    if unknown:
        has = f"one node, {known[0]}" if len(known) == 1 else f"the nodes {listing(known)}"
        raise ConstraintError(
            "node",
            f"this site has {has}; resources.node says {listing(unknown)}. Leave it out for any node.",
        )
    return [node for node in nodes if not names or node.name in names]


def _numbered(index: int, devices: Sequence[Device], where: str) -> list[Device]:
    gpus = [device for device in devices if device.kind is DeviceKind.GPU]
    found = [device for device in gpus if device.index == index]
    if found:
        return found
    indices = sorted({device.index for device in gpus})
    raise ConstraintError("gpu", f"GPU {index}: {where} has {describe_indices(indices)}")


def describe_indices(indices: Sequence[int]) -> str:
    if not indices:
        return "no GPU; leave resources.gpu out to use a CPU slot"
    if len(indices) > 1 and list(indices) == list(range(indices[0], indices[-1] + 1)):
        return f"{indices[0]} to {indices[-1]}"
    return ", ".join(map(str, indices))


def _called(pattern: str, devices: Sequence[Device], where: str, several: bool) -> list[Device]:
    gpus = [device for device in devices if device.kind is DeviceKind.GPU]
    found = [device for device in gpus if is_called(device.name, pattern)]
    if found:
        return found
    what = "no GPU; leave resources.gpu_name out to use a CPU slot"
    if gpus:
        what = f"{_models(gpus, several)}; expected a part of such a name, or leave it out for any device"
    raise ConstraintError("gpu_name", f"resources.gpu_name is {pattern}; {where} has {what}")


def _models(gpus: Sequence[Device], several: bool) -> str:
    """`NVIDIA H100 (n1, n2) and NVIDIA A100 (n3)`"""
    by_name: dict[str, list[str]] = {}
    for device in gpus:
        by_name.setdefault(device.name, []).append(device.node)
    return listing(
        [
            f"{name} ({_short(list(dict.fromkeys(nodes)))})" if several else name
            for name, nodes in by_name.items()
        ]
    )


def _short(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {count(more, 'more node')}" if more > 0 else "")


def _check_memory(asked: Demand, devices: Sequence[Device], packing: PackingRules, several: bool) -> None:
    assert isinstance(asked.gpu_memory, int)
    totals = [device.memory_total_bytes for device in devices if device.memory_total_bytes]
    allowed = max(totals, default=0) - packing.margin_bytes
    if not totals or asked.gpu_memory <= allowed:
        return
    largest = next(device for device in devices if device.memory_total_bytes == max(totals))
    which = "" if asked.place.words == "device" else f" {asked.place.words}"
    here = f" ({largest.name} of {largest.node})" if several else ""
    raise ConstraintError(
        "gpu_memory",
        f"gpu_memory is {gib(asked.gpu_memory)}, more than any{which or ' device'} can share; at most {gib(allowed)}"
        f"{here} are allowed. Without gpu_memory the job gets a whole device.",
    )
