"""The agents on the boxes of the cluster, the head's own among them: each is placed, listened to, and ended when it
counts no more."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gpujobs.cluster import roster
from gpujobs.cluster.homecoming import Places
from gpujobs.cluster.members import OWN, Member, Members
from gpujobs.errors import MachineError
from gpujobs.linux.saying import say
from gpujobs.model import NodeStatus
from gpujobs.protocol import head as wire
from gpujobs.protocol.events import NodeReported
from gpujobs.protocol.joining import Hello, Ready
from gpujobs.protocol.settings import HeadSettings, NodeSettings
from gpujobs.protocol.telling import Nothing

RELAY_PAUSE_SECONDS = 2.0
"""Until an agent that could not be reached is asked again: longer than a channel lives unused (`LINKS`)."""


class Agents:
    """`nodes`: the file of those that belong to the cluster. `tell` sends the daemon a line; `spawn` does what goes on
    beside, until the head ends."""

    def __init__(
        self,
        settings: HeadSettings,
        nodes: Path,
        tell: Callable[[Mapping[str, Any]], Awaitable[None]],
        spawn: Callable[[Any], asyncio.Task[None]],
    ) -> None:
        self._settings = settings
        self._nodes = nodes
        self._tell = tell
        self._spawn = spawn
        self._members: Members[Any] = Members()
        self._places: dict[str, Places] = {}
        """By incarnation: of what comes home."""
        self._numbers = itertools.count()
        self._placing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By name: one agent is placed on a box at a time, be there a line of its that is not known to be cut yet."""

        self._ends: dict[str, asyncio.Event] = {}
        """By incarnation: set when its agent is lost, or counts no more."""
        self._own_is_in = asyncio.Event()

    def obstacle(self, name: str, node_id: str) -> str | None:
        if name == self._settings.node.node_name:
            return (
                f"the name {name} is that of the head's box; expected one of its own: `--name` gives it one"
            )
        return roster.obstacle(self._nodes, name, node_id)

    async def take_in_after_own(self, hello: Hello, ready: Ready) -> asyncio.Event:
        """Once the head's own box is served: the daemon counts on no other before."""
        await self._own_is_in.wait()
        return await self.take_in(hello, ready)

    async def take_in(self, hello: Hello, ready: Ready) -> asyncio.Event:
        async with self._placing[hello.name]:
            return await self._place(hello, ready)

    async def _place(self, hello: Hello, ready: Ready) -> asyncio.Event:
        """Places the agent on this start of the node's Ray. One that is placed already goes on. What is returned is set
        when it counts no more."""
        from gpujobs.cluster.actor import end_agent, is_there, start_agent

        known = self._members.get(hello.name)
        if known is not None and known.start == ready.incarnation:
            ended = self._ends[known.incarnation]
            await self._report(hello.name, NodeStatus.OK, "")
            return ended
        is_old = self._members.has_had(hello.name, ready.incarnation)
        if self._members.is_fenced(ready.incarnation) or (is_old and not await is_there(ready.incarnation)):
            raise MachineError("Ray has given that start of it up; it is to be started anew")
        settings = NodeSettings(
            hello.name,
            ready.state_dir,
            ready.cpu_slots,
            self._settings.node.probe_deadline_seconds,
            hello.node_id,
            self._settings.node.instance,
        )
        agent = await start_agent(settings, ready.incarnation, ready.gpus)
        try:
            roster.add(self._nodes, hello.name, hello.node_id)
        except Exception:  # another box took the name meanwhile, or the disk is full
            end_agent(agent)
            raise
        incarnation = f"{ready.incarnation}.{next(self._numbers)}"
        return await self._admit(Member(hello.name, hello.node_id, ready.incarnation, incarnation, agent))

    async def take_guest(self, name: str, node_id: str, start: str, agent: Any) -> asyncio.Event:
        if taken := self.obstacle(name, node_id):
            raise MachineError(taken)
        roster.add(self._nodes, name, node_id)
        return await self._admit(Member(name, node_id, start, f"{start}.{next(self._numbers)}", agent))

    async def lacking(self, name: str, why: str) -> None:
        say(f"{name}: {why}")
        if self._members.get(name) is None:  # a member's name is not another node's to speak for
            await self._report(name, NodeStatus.DOWN, why)

    async def take_own(self, agent: Any) -> None:
        own = self._settings.node
        await self._admit(Member(own.node_name, own.state_id, OWN, OWN, agent))
        self._own_is_in.set()

    def of(self, name: str) -> Member[Any]:
        """Raises MachineError where there is none."""
        member = self._members.get(name)
        if member is None:
            raise MachineError(f"{name} is no member of the cluster at present")
        return member

    def require_speaks(self, member: Member[Any]) -> None:
        """Raises MachineError where another has come after it."""
        if not self._members.speaks(member):
            raise MachineError(f"{member.name} has joined anew; what it said before counts no more")

    def places_of(self, member: Member[Any]) -> Places:
        return self._places.setdefault(member.incarnation, Places())

    async def _admit(self, member: Member[Any]) -> asyncio.Event:
        from gpujobs.cluster.actor import end_agent

        before = self._members.admit(member)
        ended = self._ends[member.incarnation] = asyncio.Event()
        if before is not None:
            self._ended(before)
            end_agent(before.agent)
        relay = self._spawn(self._relay_events(member))
        if member.incarnation == OWN:
            relay.add_done_callback(_ray_has_ended)
        await self._report(member.name, NodeStatus.OK, "")
        return ended

    async def _report(self, name: str, status: NodeStatus, message: str) -> None:
        await self._tell(wire.write_line(NodeReported(name, status, message)))

    async def _relay_events(self, member: Member[Any]) -> None:
        """What an agent says counts as long as no newer one of its node was admitted."""
        from gpujobs.cluster.actor import is_passing

        heard = 0
        while self._members.speaks(member):
            try:
                heard, events = await member.agent.next_events.remote(heard)
            except Exception as error:
                is_own = member.incarnation == OWN
                if is_passing(error) and not (is_own and self._settings.listening is None):
                    await asyncio.sleep(RELAY_PAUSE_SECONDS)
                    continue
                if is_own:
                    raise
                await self._lost(member, error)
                return
            for event in events if self._members.speaks(member) else ():
                await self._tell(event)

    async def _lost(self, member: Member[Any], error: Exception) -> None:
        say(f"{member.name}: {error!r}")
        self._ended(member)
        if self._members.lose(member):
            await self._report(member.name, NodeStatus.DOWN, "Ray has lost it")

    def _ended(self, member: Member[Any]) -> None:
        self._places.pop(member.incarnation, None)
        if (ended := self._ends.pop(member.incarnation, None)) is not None:
            ended.set()

    async def expel(self, name: str) -> Nothing:
        """Its line is told why: it is looked at anew what it has shown. An agent that is being placed is awaited."""
        from gpujobs.cluster.actor import end_agent

        async with self._placing[name]:
            member = self._members.get(name)
            if member is not None:
                if self._members.lose(member):
                    await self._report(name, NodeStatus.DOWN, "it was shut out")
                self._ended(member)
                end_agent(member.agent)
        return Nothing()


def _ray_has_ended(task: asyncio.Task[None]) -> None:
    """Without its agent the head is of no use; the daemon sees the end and starts over."""
    if not task.cancelled():
        say(f"the node agent is gone: {task.exception()!r}")
        os._exit(1)
