"""The node agent as a Ray actor: one for each node, pinned to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gpujobs import __version__
from gpujobs.cluster.ray_node import LABEL
from gpujobs.errors import GpujobsError, MachineError, in_words
from gpujobs.node.agent import NodeAgent
from gpujobs.protocol import codec
from gpujobs.protocol import head as wire
from gpujobs.protocol.boxes import PassOn, Put, Take
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.instructions import Collect, instruction_of
from gpujobs.protocol.settings import NodeSettings
from gpujobs.protocol.telling import Instruction

PLACING_SECONDS = 60.0


A = TypeVar("A")
Wire = Mapping[str, Any]


class AgentActor:
    """What crosses is JSON, as everywhere: the head may be of a later version, whose classes are not these. An answer
    is `{"answer"}`, or `{"error"}` as `to_wire` has it."""

    def __init__(self, settings: Wire) -> None:
        self._settings = codec.parse_known(NodeSettings, settings)
        self._agent: NodeAgent | None = None

    async def open(self) -> Any:
        self._agent = NodeAgent(self._settings)
        await self._agent.open()

    async def carry_out(self, asked: Wire) -> Wire:
        """An instruction as `written` has it."""
        assert self._agent is not None
        try:
            return {"answer": codec.write(await self._agent.carry_out(self._read(asked)))}
        except GpujobsError as error:
            return {"error": error.to_wire()}
        except OSError as error:
            return {"error": MachineError(f"{asked['call']}: {error}").to_wire()}

    def _read(self, asked: Wire) -> Instruction[Any]:
        try:
            return instruction_of(asked, known_only=True)
        except ShapeError as error:
            raise MachineError(
                f"gpujobs {__version__} on {self._settings.node_name} does not understand what is asked ({error}); "
                "install the head's version there"
            ) from None

    async def put(self, asked: Wire, content: bytes | Wire) -> Wire:
        """As `carry_out`, of a `Put`, which comes with bytes: the daemon's, or what another box has answered."""
        assert self._agent is not None
        if not isinstance(content, bytes):
            return content
        try:
            return {"answer": codec.write(await self._agent.put(codec.parse_known(Put, asked), content))}
        except GpujobsError as error:
            return {"error": error.to_wire()}
        except OSError as error:
            return {"error": MachineError(f"{self._settings.node_name}: {in_words(error)}").to_wire()}

    async def pass_on(self, asked: Wire) -> bytes | Wire:
        """A piece of data that has come here, or is coming, for another box; or an error."""
        assert self._agent is not None
        return await self._bytes(self._agent.pass_on, codec.parse_known(PassOn, asked))

    async def take(self, asked: Wire) -> bytes | Wire:
        """A piece of what an attempt has left; or an error."""
        assert self._agent is not None
        return await self._bytes(self._agent.take, codec.parse_known(Take, asked))

    async def _bytes(self, read: Callable[[A], bytes], asked: A) -> bytes | Wire:
        try:
            return await asyncio.to_thread(read, asked)
        except GpujobsError as error:
            return {"error": error.to_wire()}
        except OSError as error:
            return {"error": MachineError(f"{self._settings.node_name}: {in_words(error)}").to_wire()}

    async def next_events(self, heard: int) -> tuple[int, list[Wire]]:
        """As the daemon is told them."""
        assert self._agent is not None
        number, events = await self._agent.next_events(heard)
        return number, [wire.write_line(event) for event in events]

    async def collect(self, asked: Wire) -> AsyncIterator[tuple[str, bytes | Wire]]:
        """Yields (file name, bytes), a file's chunks in order; or ("", an error) as the last item."""
        assert self._agent is not None
        wanted = codec.parse_known(Collect, asked)
        try:
            for item in self._agent.collect(wanted.attempt, wanted.limit_bytes):
                yield item
                await asyncio.sleep(0)
        except GpujobsError as error:
            yield "", error.to_wire()
        except OSError as error:
            yield "", MachineError(f"the results cannot be read: {error}").to_wire()


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


async def is_there(incarnation: str) -> bool:
    """Whether Ray counts the node that was started with this label as alive."""
    nodes = await asyncio.to_thread(ray.nodes)
    return any(node["Alive"] and node["Labels"].get(LABEL) == incarnation for node in nodes)


async def _start(settings: NodeSettings, gpus: int, **where: Any) -> Any:
    """Holding all of its node's GPUs in Ray's accounting, so that other Ray programs on the cluster keep off them."""
    actor = ray.remote(AgentActor).options(
        num_cpus=0, num_gpus=gpus, max_concurrency=1000, max_restarts=0, **where
    )
    agent = actor.remote(codec.write(settings))
    try:
        await agent.open.remote()
    except BaseException:  # nobody waits for it any more: it must not come up later beside another
        end_agent(agent)
        raise
    return agent


def end_agent(agent: Any) -> None:
    """One that was fenced off; where its node is gone, there is nothing to end."""
    with contextlib.suppress(Exception):
        ray.kill(agent)


def is_passing(error: Exception) -> bool:
    """Whether the agent may answer again: its node could not be reached at that moment."""
    return isinstance(error, ray.exceptions.ActorUnavailableError)
