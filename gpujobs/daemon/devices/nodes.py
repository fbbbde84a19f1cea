"""Which machines are members, and what is on their devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from gpujobs.cluster.link import ClusterLink
from gpujobs.errors import GpujobsError
from gpujobs.model import DeviceKind, Node, NodeStatus
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import Probe
from gpujobs.protocol import instructions as told


class Nodes:
    """The members as Ray reports them. Their devices are asked for, not remembered.

    A node counts as OK here only after the attempts on it were reconciled (`admit`): before that
    nobody knows which of its devices are in use.
    """

    def __init__(
        self,
        link: ClusterLink,
        own_name: str,
        on_reading: Callable[[Sequence[Node]], None],
        cpu_slots: int | None = None,
    ) -> None:
        self._link = link
        self._own_name = own_name
        self._cpu_slots = cpu_slots
        self._probe_alone = Probe()
        self._on_reading = on_reading
        starting = Node(own_name, NodeStatus.STARTING, "Ray is not up yet")
        self._nodes: dict[str, Node] = {own_name: starting}

    def report(self, name: str, status: NodeStatus, message: str) -> None:
        """Takes note of a node that is not, or not yet, in service."""
        self._nodes[name] = Node(name, status, message)

    async def admit(self, name: str) -> Node:
        self._nodes[name] = Node(name, NodeStatus.OK)
        (node,) = [node for node in await self.probe() if node.name == name]
        return node

    @property
    def known(self) -> list[Node]:
        """As last seen, without asking anybody."""
        return list(self._nodes.values())

    async def probe(self) -> list[Node]:
        """Every member with its devices as they are now. CPU slots do not change, so they are not asked."""
        nodes = list(await asyncio.gather(*(self._look(node) for node in self._nodes.values())))
        self._on_reading(nodes)
        return nodes

    async def seen(self) -> list[Node]:
        """As `probe`, for people: this machine's GPUs also while its node starts, which NVML can tell alone."""
        nodes = await self.probe()
        return [await self._seen_alone(node) if self._is_starting(node) else node for node in nodes]

    def _is_starting(self, node: Node) -> bool:
        return node.name == self._own_name and node.status is NodeStatus.STARTING and not node.devices

    async def _seen_alone(self, node: Node) -> Node:
        found = devices_of(await self._probe_alone.read(), node.name, self._cpu_slots)
        if found.status is not NodeStatus.OK:
            return found
        return replace(node, devices=found.devices)

    async def close(self) -> None:
        await self._probe_alone.close()

    async def _look(self, node: Node) -> Node:
        if node.status in (NodeStatus.STARTING, NodeStatus.DOWN) or _is_cpu_only(node):
            return node
        try:
            seen = (await self._link.call(node.name, told.Probe())).node
        except GpujobsError as error:
            return replace(node, status=NodeStatus.DOWN, message=str(error), devices=())
        if self._nodes.get(node.name) is node:
            self._nodes[node.name] = seen
        return seen


def _is_cpu_only(node: Node) -> bool:
    return bool(node.devices) and all(device.kind is DeviceKind.CPU for device in node.devices)
