"""Which devices get no more work, and why: somebody said so, or their hardware is in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gpujobs.errors import NotFoundError, UsageError
from gpujobs.model import Device, Node
from gpujobs.store.devices import Devices
from gpujobs.store.store import DAEMON


class Drains:
    """A cache of the store's drained devices. `look` sees every reading of the devices."""

    def __init__(self, devices: Devices, on_commit: Callable[[], None] = lambda: None) -> None:
        self._on_commit = on_commit
        self._store = devices
        self._records = devices.all()

    @property
    def reasons(self) -> Mapping[str, str]:
        """By UUID."""
        return {uuid: record.drained for uuid, record in self._records.items() if record.drained}

    def look(self, nodes: Iterable[Node]) -> None:
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
        with self._store.together():
            for device in devices:
                self._store.drain(device.uuid, reason, actor)
        self._records = self._store.all()
        self._on_commit()

    def resume(self, devices: Sequence[Device], actor: str) -> None:
        """The errors that a device reports now are acknowledged; new ones drain it again."""
        with self._store.together():
            for device in devices:
                self._store.resume(device.uuid, actor, device.hardware_errors)
        self._records = self._store.all()
        self._on_commit()


def named(devices: Sequence[Device], names: Sequence[str]) -> list[Device]:
    """The devices that people name: by index, `NODE:INDEX`, or UUID (its beginning is enough).

    Raises UsageError for a name that fits none, or several.
    """
    return [_named(devices, name) for name in dict.fromkeys(names)]


def _named(devices: Sequence[Device], name: str) -> Device:
    found = [device for device in devices if _is_called(device, name)]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(
            f"{device.node}:{device.index}" if name.isdecimal() else device.uuid for device in found
        )
        raise UsageError(f"device {name} is not clear: {places}; name one of them")
    known = ", ".join(str(device.index) for device in devices) or "none"
    raise NotFoundError(
        f"device {name} does not exist; expected one of {known}, or a UUID; see `gpujobs gpus`"
    )


def _is_called(device: Device, name: str) -> bool:
    if name.isdecimal():
        return device.index == int(name)
    node, colon, index = name.rpartition(":")
    if colon and index.isdecimal():
        return device.node == node and device.index == int(index)
    return len(name) >= 8 and device.uuid.startswith(name)
