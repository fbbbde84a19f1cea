"""Which machines are members, and what is on their devices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.observers import Observers
from gpujobs.errors import GpujobsError
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import Probe, read_once
from gpujobs.protocol import boxes
from gpujobs.protocol import instructions as told

AWAY = "its box is away"

LOOKS_PER_SECOND = 16
"""At nodes, where nothing has happened."""

REMOTE_SECONDS = 3.0
"""That a decision waits for a box whose link may be cut."""


class Nodes:
    """The members as Ray reports them. Their devices are asked for, not remembered.

    A node counts as OK here only after the attempts on it were reconciled (`admit`): before that
    nobody knows which of its devices are in use.
    """

    def __init__(
        self,
        link: ClusterLink,
        own_name: str,
        cpu_slots: int | None = None,
        others: Sequence[str] = (),
    ) -> None:
        """`others`: the boxes that have joined before, and may have trainers of ours."""
        self._link = link
        self.own_name = own_name
        self._cpu_slots = cpu_slots
        self._probe_alone = Probe()
        self.readings = Observers[[Sequence[Node]]]()
        """Who hears of every reading of the devices."""
        self.hidden: Callable[[Node], Node] = lambda node: node
        """Shows a node without those processes of ours that have no job at present."""
        starting = Node(own_name, NodeStatus.STARTING, "Ray is not up yet")
        self._nodes: dict[str, Node] = {own_name: starting}
        self._latest: tuple[list[Node], float] = [], 0.0
        """What the latest look at all has found, and when."""
        for name in others:
            message = "it has not joined again since the daemon was started"
            self._nodes[name] = Node(name, NodeStatus.DOWN, message)

    def report(self, name: str, status: NodeStatus, message: str, since: datetime | None = None) -> None:
        """Takes note of a node that is not, or not yet, in service; `since`: when it is away. Of another box the
        devices are known on."""
        known = self._nodes.get(name)
        devices = known.devices if known is not None and self.is_remote(name) else ()
        self._nodes[name] = Node(name, status, message, tuple(replace(d, fault=AWAY) for d in devices), since)

    def forget(self, name: str) -> None:
        """It is struck out."""
        self._nodes.pop(name, None)

    @property
    def has_others(self) -> bool:
        return len(self._nodes) > 1

    def is_remote(self, name: str) -> bool:
        return name != self.own_name

    async def admit(self, name: str) -> Node:
        """Raises GpujobsError where another box does not answer, however long it may take: it stays as it was."""
        before, admitted = self._nodes.get(name), Node(name, NodeStatus.OK)
        try:
            node = seen = await self._asked(admitted)
        except GpujobsError as error:
            if self.is_remote(name):
                raise
            node, seen = admitted, _silent(admitted, error)
        if self._nodes.get(name) is before:
            self._nodes[name] = node
        self.readings.tell(self.known)
        return seen

    @property
    def known(self) -> list[Node]:
        """As last seen, without asking anybody."""
        return list(self._nodes.values())

    def of(self, job: Job) -> str:
        """Where its attempt is asked for. A machine may have another name since: then it is ours."""
        members = [node.name for node in self.known]
        name = job.current.node if job.current is not None else ""
        return name if name in members or not members else members[0]

    async def members(self) -> list[Node]:
        """As last seen; this machine's devices also before its node has told them, as NVML tells them alone."""
        own = self._nodes.get(self.own_name)
        if own is None or own.devices or own.status not in (NodeStatus.STARTING, NodeStatus.OK):
            return self.known
        alone = devices_of(await asyncio.to_thread(read_once), own.name, self._cpu_slots)
        return [alone if node.name == own.name and not node.devices else node for node in self.known]

    async def devices_of_members(self) -> list[Device]:
        """As last seen; of this machine alone while the cluster is still starting."""
        known = self.devices
        if known or any(node.status is NodeStatus.OK for node in self.known):
            return known
        reading = await asyncio.to_thread(read_once)
        return list(reading.devices)

    def device_name(self, uuid: str) -> str:
        """With the number by which people know it, where it is known."""
        found = next((device for device in self.devices if device.uuid == uuid), None)
        if found is None:
            return uuid
        node = f" of {found.node}" if self.has_others else ""
        return f"{found.kind} {found.index}{node} ({uuid})"

    def message(self, node: Node) -> str:
        """What there is to say of it; of our own also why no other can join."""
        door = "" if self.is_remote(node.name) else self._link.door
        return "; ".join(filter(None, [node.message, door]))

    @property
    def devices(self) -> list[Device]:
        """Of all members, as last seen."""
        return [device for node in self.known for device in node.devices]

    async def probe(self) -> list[Node]:
        """Every member with its devices as they are now. CPU slots do not change, so they are not asked."""
        nodes = list(await asyncio.gather(*(self._look(node) for node in self._nodes.values())))
        self._latest = nodes, time.monotonic()
        self.readings.tell(nodes)
        return nodes

    @property
    def pace_seconds(self) -> float:
        """Between two looks at all of them, where nothing has happened: many are looked at less often, so that looking
        takes as little of the daemon's time as on a site of a few."""
        return max(1.0, len(self._nodes) / LOOKS_PER_SECOND)

    def recent(self) -> list[Node] | None:
        """What the latest look has found, where that is about as new as another one would be."""
        nodes, at = self._latest
        is_of_these = [node.name for node in nodes] == list(self._nodes)
        return nodes if is_of_these and time.monotonic() - at <= self.pace_seconds + 0.5 else None

    async def seen(self) -> list[Node]:
        """As `probe`, for people: this machine's GPUs also while its node starts, which NVML can tell alone."""
        nodes = await self.probe()
        return [await self._seen_alone(node) if self._is_starting(node) else node for node in nodes]

    def _is_starting(self, node: Node) -> bool:
        return node.name == self.own_name and node.status is NodeStatus.STARTING and not node.devices

    async def _seen_alone(self, node: Node) -> Node:
        found = devices_of(await self._probe_alone.read(), node.name, self._cpu_slots)
        if found.status is not NodeStatus.OK:
            return found
        return replace(node, devices=found.devices)

    async def rooms(self) -> dict[str, boxes.Room]:
        """What the disks of the members' state directories have free, of those that answer soon."""
        names = [node.name for node in self.known if node.status is NodeStatus.OK]
        found = await asyncio.gather(*map(self._room, names))
        return {name: room for name, room in zip(names, found, strict=True) if room is not None}

    async def _room(self, name: str) -> boxes.Room | None:
        try:
            async with asyncio.timeout(REMOTE_SECONDS):
                return await self._link.call(name, boxes.MeasureDisk())
        except (TimeoutError, GpujobsError):
            return None

    async def close(self) -> None:
        await self._probe_alone.close()

    async def _look(self, node: Node) -> Node:
        if node.status in (NodeStatus.STARTING, NodeStatus.DOWN) or _is_cpu_only(node):
            return node
        try:
            async with asyncio.timeout(REMOTE_SECONDS if self.is_remote(node.name) else None):
                seen = await self._asked(node)
        except TimeoutError:
            return replace(node, status=NodeStatus.DOWN, message="it does not answer at present")
        except GpujobsError as error:
            return _silent(node, error)
        if self._nodes.get(node.name) is node:
            self._nodes[node.name] = seen
        return seen

    async def _asked(self, node: Node) -> Node:
        return self.hidden((await self._link.call(node.name, told.Probe())).node)


def _silent(node: Node, error: GpujobsError) -> Node:
    return replace(node, status=NodeStatus.DOWN, message=str(error), devices=())


def _is_cpu_only(node: Node) -> bool:
    return bool(node.devices) and all(device.kind is DeviceKind.CPU for device in node.devices)
