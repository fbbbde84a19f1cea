"""The node agent as a Ray actor: one for each node, pinned to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gpujobs.errors import GpujobsError, MachineError
from gpujobs.node.agent import NodeAgent
from gpujobs.protocol.codec import Message
from gpujobs.protocol.events import AttemptEvent
from gpujobs.protocol.instructions import Collect, Instruction
from gpujobs.protocol.launcher import Refused
from gpujobs.protocol.settings import NodeSettings


class AgentActor:
    """Errors travel as what `to_wire` makes of them: an exception of ours need not be unpickled."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._agent: NodeAgent | None = None

    async def open(self) -> None:
        self._agent = NodeAgent(self._settings)
        await self._agent.open()

    async def carry_out(self, instruction: Instruction[Any]) -> Message:
        """The answer that belongs to it, or `Refused`."""
        assert self._agent is not None
        try:
            return await self._agent.carry_out(instruction)
        except GpujobsError as error:
            return Refused(error.to_wire())
        except OSError as error:
            return Refused(MachineError(f"{instruction.tag}: {error}").to_wire())

    async def next_events(self) -> list[AttemptEvent]:
        assert self._agent is not None
        return await self._agent.next_events()

    async def collect(self, asked: Collect) -> AsyncIterator[tuple[str, bytes | Refused]]:
        """Yields (file name, bytes), a file's chunks in order; or ("", `Refused`) as the last item."""
        assert self._agent is not None
        try:
            for item in self._agent.collect(asked.attempt, asked.limit_bytes):
                yield item
                await asyncio.sleep(0)
        except GpujobsError as error:
            yield "", Refused(error.to_wire())
        except OSError as error:
            yield "", Refused(MachineError(f"the results cannot be read: {error}").to_wire())


async def start_agent(settings: NodeSettings) -> Any:
    """On this node, holding all of its GPUs in Ray's accounting, so that other Ray programs on the
    cluster keep off them."""
    node_id = ray.get_runtime_context().get_node_id()
    actor = ray.remote(AgentActor).options(
        num_cpus=0,
        num_gpus=ray.cluster_resources().get("GPU", 0),
        max_concurrency=1000,
        max_restarts=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    agent = actor.remote(settings)
    await agent.open.remote()
    return agent
