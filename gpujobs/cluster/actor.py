"""The node agent as a Ray actor: one for each node, pinned to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gpujobs.cluster.ray_node import LABEL
from gpujobs.errors import GpujobsError, MachineError, in_words
from gpujobs.node.agent import NodeAgent
from gpujobs.protocol.codec import Message
from gpujobs.protocol.events import AttemptEvent
from gpujobs.protocol.instructions import Blob, Collect, Instruction, Put, Take
from gpujobs.protocol.launcher import Refused
from gpujobs.protocol.settings import NodeSettings

PLACING_SECONDS = 60.0


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

    async def put(self, asked: Put, content: bytes | Refused) -> Message:
        """As `carry_out`, of an instruction that comes with bytes: the daemon's, or what another box has answered."""
        assert self._agent is not None
        if isinstance(content, Refused):
            return content
        try:
            return await self._agent.put(asked, content)
        except GpujobsError as error:
            return Refused(error.to_wire())
        except OSError as error:
            return Refused(MachineError(f"{self._settings.node_name}: {in_words(error)}").to_wire())

    async def piece(self, blob: Blob, offset: int, limit: int) -> bytes | Refused:
        """Of data that has come here, or is coming: for another box."""
        assert self._agent is not None
        try:
            return await asyncio.to_thread(self._agent.piece, blob, offset, limit)
        except OSError as error:
            return Refused(MachineError(f"{self._settings.node_name}: {in_words(error)}").to_wire())

    async def take(self, asked: Take) -> bytes | Refused:
        """As `carry_out`, of an instruction that is answered with bytes."""
        assert self._agent is not None
        try:
            return await asyncio.to_thread(self._agent.take, asked)
        except GpujobsError as error:
            return Refused(error.to_wire())
        except OSError as error:
            return Refused(MachineError(f"{self._settings.node_name}: {in_words(error)}").to_wire())

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


async def start_own_agent(settings: NodeSettings, gpus: int) -> Any:
    """On this very node, with which it ends."""
    node_id = ray.get_runtime_context().get_node_id()
    return await _start(
        settings, gpus, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
    )


async def start_agent(settings: NodeSettings, incarnation: str, gpus: int) -> Any:
    """On the node whose Ray was started with this label. Raises MachineError where it does not come up."""
    try:
        async with asyncio.timeout(PLACING_SECONDS):
            return await _start(settings, gpus, label_selector={LABEL: incarnation})
    except TimeoutError:
        raise MachineError(
            f"Ray has started no agent on {settings.node_name} within {PLACING_SECONDS:g} s"
        ) from None


async def _start(settings: NodeSettings, gpus: int, **where: Any) -> Any:
    """Holding all of its node's GPUs in Ray's accounting, so that other Ray programs on the cluster keep off them."""
    actor = ray.remote(AgentActor).options(
        num_cpus=0, num_gpus=gpus, max_concurrency=1000, max_restarts=0, **where
    )
    agent = actor.remote(settings)
    await agent.open.remote()
    return agent


def end_agent(agent: Any) -> None:
    """One that was fenced off; where its node is gone, there is nothing to end."""
    with contextlib.suppress(Exception):
        ray.kill(agent)


def is_passing(error: Exception) -> bool:
    """Whether the agent may answer again: its node could not be reached at that moment."""
    return isinstance(error, ray.exceptions.ActorUnavailableError)
