"""Which devices get no more work, and why: somebody said so, or their hardware is in trouble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import NotFoundError, UsageError
from gpujobs.model import Device, Node
from gpujobs.policy.inputs.text import listing
from gpujobs.store.devices import Devices
from gpujobs.store.store import DAEMON, Store


class Drains:
    """A cache of the store's drained devices. `observe` sees every reading of the devices."""

    def __init__(self, devices: Devices, writer: StoreWriter) -> None:
        self._writer = writer
        self._devices = devices
        self._records = devices.all()

    @property
    def reasons(self) -> Mapping[str, str]:
        """By UUID."""
        return {uuid: record.drained for uuid, record in self._records.items() if record.drained}

    def observe(self, nodes: Iterable[Node]) -> None:
        """Drains what reports errors of its hardware that nobody has acknowledged yet."""
        for node in nodes:
            for device in node.devices:
                if device.hardware_errors:
                    self._judge(device)

    def _judge(self, device: Device) -> None:
        record = self._records.get(device.uuid)
        known = record.acknowledged if record else frozenset()
        news = [error for error in device.hardware_errors if error not in known]
        if not news or (record is not None and record.drained):
            return
        self.drain([device], "; ".join(news), DAEMON)

    def drain(self, devices: Sequence[Device], reason: str, actor: str) -> None:
        """All of them or none."""

        def drain(store: Store) -> None:
            for device in devices:
                store.devices.drain(device.uuid, reason, actor)

        self._writer.do(drain)
        self._records = self._devices.all()

    def resume(self, devices: Sequence[Device], actor: str) -> None:
        """The errors that a device reports now are acknowledged; new ones drain it again."""

        def resume(store: Store) -> None:
            for device in devices:
                store.devices.resume(device.uuid, actor, device.hardware_errors)

        self._writer.do(resume)
        self._records = self._devices.all()


def named(nodes: Sequence[Node], names: Sequence[str]) -> list[Device]:
    """The devices that people name, each once: by index, `NODE:INDEX`, UUID (its beginning is enough), or all of a node
    by `NODE` or `NODE:*`.

    Raises UsageError for a name that fits none, or several.
    """
    found = {(one.node, one.uuid): one for name in names for one in _named(nodes, name)}
    return list(found.values())


def _named(nodes: Sequence[Node], name: str) -> Sequence[Device]:
    devices = [device for node in nodes for device in node.devices]
    found = [device for device in devices if _is_called(device, name)]
    if len(found) == 1:
        return found
    if found:
        places = ", ".join(
            f"{device.node}:{device.index}" if name.isdecimal() else device.uuid for device in found
        )
        raise UsageError(f"device {name} is not clear: {places}; name one of them")
    node = next((node for node in nodes if name in (node.name, f"{node.name}:*")), None)
    if node is None:
        raise NotFoundError(
            f"device {name} does not exist; expected one of {_known(nodes)}, or a UUID; see `gpujobs gpus`"
        )
    if not node.devices:
        why = f": it is {node.status}: {node.message}" if node.message else ""
        raise UsageError(
            f"what devices {node.name} has is not known at present{why}; try again when it is up"
        )
    return node.devices


def _known(nodes: Sequence[Node]) -> str:
    """The numbers of one node's devices; of several nodes, these."""
    if len(nodes) > 1:
        return f"the nodes {listing([node.name for node in nodes])}, NODE:NUMBER"
    return ", ".join(str(device.index) for node in nodes for device in node.devices) or "none"


def _is_called(device: Device, name: str) -> bool:
    if name.isdecimal():
        return device.index == int(name)
    node, colon, index = name.rpartition(":")
    if colon and index.isdecimal():
        return device.node == node and device.index == int(index)
    return len(name) >= 8 and device.uuid.startswith(name)
