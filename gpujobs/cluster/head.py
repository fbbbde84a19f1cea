"""Ray's driver, in a process of its own: `python -m gpujobs.cluster.head --fd N`.

It speaks with the daemon over the inherited socket (docs/protocol.md, section 2). The first line
holds the settings. When the socket closes, Ray is stopped and the process ends; when Ray ends, the
process ends too, and the daemon starts another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import secrets
import shutil
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gpujobs.cluster import certificates, passes, renewal, roster
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.collecting import write_chunks
from gpujobs.cluster.delivering import Deliveries, answer_of
from gpujobs.cluster.environment import (
    lasting_token,
    make_temp_parent,
    remove_temp_parent,
)
from gpujobs.cluster.gate import JoinGate
from gpujobs.cluster.homecoming import Places, bring_home
from gpujobs.cluster.jsonlines import read_lines, write_line
from gpujobs.cluster.members import OWN, Member, Members
from gpujobs.cluster.orphans import become_only_head
from gpujobs.cluster.passes import Shown, User
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.ray_node import RayProcesses
from gpujobs.cluster.starting_ray import first_line, gpus_here, start_cluster, start_ray, use_ray
from gpujobs.cluster.tls import of_the_head
from gpujobs.cluster.versions import own_versions
from gpujobs.errors import GpujobsError, MachineError, ProtocolError
from gpujobs.linux.saying import say
from gpujobs.model import NodeStatus
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol import head as wire
from gpujobs.protocol.boxes import BringHome, Deliver, Expel, Rekey, Rekeyed
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.events import DoorReported, HeadFailed, NodeReported
from gpujobs.protocol.head import Answer, Refusal, Request
from gpujobs.protocol.instructions import Collect, Collected, written
from gpujobs.protocol.joining import Hello, Ready
from gpujobs.protocol.settings import HeadSettings, NodeSettings
from gpujobs.protocol.telling import Instruction, Nothing

DOOR_SECONDS, LONGEST_DOOR_SECONDS = 1.0, 60.0
"""Until a port of joining that is taken is tried again, at first and at most."""

RELAY_PAUSE_SECONDS = 2.0
"""Until an agent that could not be reached is asked again: longer than a channel lives unused (`LINKS`)."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    connection = socket.socket(fileno=parser.parse_args().fd)
    settings = codec.parse(HeadSettings, _first_line(connection))
    paths = StatePaths(Path(settings.node.state_dir))
    with _telling(connection):
        become_only_head(paths.head_lock)
        temp_parent = make_temp_parent(paths)
    ray_processes = None
    try:
        with _telling(connection):
            gpus = gpus_here(settings.node)
            if settings.ray_address is not None:
                gpus = use_ray(settings.ray_address, gpus)
            elif settings.listening is None:
                start_ray(paths, temp_parent, gpus)
            else:
                ray_processes = start_cluster(paths, temp_parent, gpus, settings.listening)
        asyncio.run(Head(settings, paths, gpus).run(connection, ray_processes))
    finally:
        import ray

        ray.shutdown()
        if ray_processes is not None:
            ray_processes.end()
        shutil.rmtree(temp_parent, ignore_errors=True)
        remove_temp_parent(paths)


@contextlib.contextmanager
def _telling(connection: socket.socket) -> Iterator[None]:
    """Tells the daemon, in a line, what has kept this head from starting; the whole of it goes to head.log."""
    try:
        yield
    except Exception as error:
        if isinstance(error, GpujobsError):
            message = error.message
        else:
            message = f"Ray cannot start: {type(error).__name__}: {first_line(str(error))}"
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(wire.write_line(HeadFailed(message))).encode() + b"\n")
        raise


def _first_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            sys.exit("the daemon closed the connection before it sent the settings")
        line += byte
    return line


class Head:
    """Relays the daemon's calls to the node agents, and their events to the daemon."""

    def __init__(self, settings: HeadSettings, paths: StatePaths, gpus: int) -> None:
        self._settings = settings
        self._paths = paths
        self._gpus = gpus
        self._members: Members[Any] = Members()
        self._deliveries = Deliveries()
        self._places: dict[str, Places] = {}
        """By incarnation: of what comes home."""
        self._numbers = itertools.count()
        self._placing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By name: one agent is placed on a box at a time, be there a line of its that is not known to be cut yet."""

        self._ends: dict[str, asyncio.Event] = {}
        """By incarnation: set when its agent is lost, or counts no more."""
        self._own_is_in = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open_gate: JoinGate | None = None
        self._is_renewed = False
        self._writer: asyncio.StreamWriter

    async def run(self, connection: socket.socket, ray: RayProcesses | None) -> None:
        reader, self._writer = await asyncio.open_connection(sock=connection, limit=1 << 26)
        from gpujobs.cluster.actor import start_own_agent

        if ray is not None:
            self._spawn(_end_with(ray))
        own = self._settings.node
        gate = self._open_gate = self._gate()
        if gate is not None:  # the others start their Ray while our own agent starts
            self._spawn(self._open(gate))
        agent = await start_own_agent(own, self._gpus)
        await self._admit(Member(own.node_name, own.state_id, OWN, OWN, agent))
        self._own_is_in.set()
        if self._settings.ray_address is not None:
            from gpujobs.cluster.guests import keep_guests

            self._spawn(keep_guests(own, self._take_guest, self._lacking))
        async for line in read_lines(reader):
            self._spawn(self._take(line))
        for task in list(self._tasks):
            task.cancel()
        if gate is not None:
            await gate.close()

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Boxes that join

    async def _open(self, gate: JoinGate) -> None:
        """Our own box is served whatever is at the port: it is tried again, as nobody tells when it is free."""
        pause, told = DOOR_SECONDS, ""
        while True:
            try:
                await gate.open()
            except MachineError as error:
                if error.message != told:
                    told = error.message
                    say(told)
                    await write_line(self._writer, wire.write_line(DoorReported(told)))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_DOOR_SECONDS)
            else:
                break
        if told:
            say("boxes can join again")
            await write_line(self._writer, wire.write_line(DoorReported("")))

    def _gate(self) -> JoinGate | None:
        listening = self._settings.listening
        if listening is None:
            return None
        tls = TlsFiles(self._paths.tls) if listening.tls else None
        return JoinGate(
            name=self._settings.node.node_name,
            address=listening.address,
            ports=Ports(listening.port),
            secret=lasting_token(self._paths.cluster_token),
            instance=self._settings.node.instance,
            uid=os.geteuid(),
            versions=own_versions(),
            obstacle=self._obstacle,
            admit=self._take_in_after_own,
            tls=None if tls is None else of_the_head(tls),
            sign=None if tls is None else partial(certificates.sign, tls),
            expel=self._expel,
            let_in=(lambda *_: None) if tls is None else partial(self._let_in, tls),
        )

    def _let_in(self, tls: TlsFiles, shown: Shown, user: User, joins: bool) -> str | None:
        def joined() -> set[str]:
            return {node.id for node in roster.known(self._paths.nodes).values()}

        if joins:
            return passes.use(tls, shown, user, joined)
        return passes.obstacle(passes.known(tls), shown, user.id, joined)

    def _obstacle(self, name: str, node_id: str) -> str | None:
        if name == self._settings.node.node_name:
            return (
                f"the name {name} is that of the head's box; expected one of its own: `--name` gives it one"
            )
        return roster.obstacle(self._paths.nodes, name, node_id)

    async def _take_in_after_own(self, hello: Hello, ready: Ready) -> asyncio.Event:
        """Once the head's own box is served: the daemon counts on no other before."""
        await self._own_is_in.wait()
        return await self._take_in(hello, ready)

    async def _take_in(self, hello: Hello, ready: Ready) -> asyncio.Event:
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
            roster.add(self._paths.nodes, hello.name, hello.node_id)
        except Exception:  # another box took the name meanwhile, or the disk is full
            end_agent(agent)
            raise
        incarnation = f"{ready.incarnation}.{next(self._numbers)}"
        return await self._admit(Member(hello.name, hello.node_id, ready.incarnation, incarnation, agent))

    async def _take_guest(self, name: str, node_id: str, start: str, agent: Any) -> asyncio.Event:
        if taken := self._obstacle(name, node_id):
            raise MachineError(taken)
        roster.add(self._paths.nodes, name, node_id)
        return await self._admit(Member(name, node_id, start, f"{start}.{next(self._numbers)}", agent))

    async def _lacking(self, name: str, why: str) -> None:
        say(f"{name}: {why}")
        if self._members.get(name) is None:  # a member's name is not another node's to speak for
            await self._report(name, NodeStatus.DOWN, why)

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
        await write_line(self._writer, wire.write_line(NodeReported(name, status, message)))

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
                await write_line(self._writer, event)

    async def _lost(self, member: Member[Any], error: Exception) -> None:
        say(f"{member.name}: {error!r}")
        self._ended(member)
        if self._members.lose(member):
            await self._report(member.name, NodeStatus.DOWN, "Ray has lost it")

    def _ended(self, member: Member[Any]) -> None:
        self._places.pop(member.incarnation, None)
        if (ended := self._ends.pop(member.incarnation, None)) is not None:
            ended.set()

    # The daemon's calls

    async def _take(self, line: Mapping[str, Any]) -> None:
        try:
            request = wire.request_of(line)
        except ShapeError as error:
            number = int(line.get("id", 0))
            await write_line(self._writer, wire.write_line(Refusal(number, ProtocolError(str(error)))))
        else:
            await self._answer(request)

    async def _answer(self, request: Request) -> None:
        answer: Answer | Refusal
        try:
            answer = Answer(request.id, await self._carry_out(request.node, request.instruction))
        except GpujobsError as error:
            answer = Refusal(request.id, error)
        except Exception as error:  # noqa: BLE001 - whatever Ray raises, the daemon must hear of it
            answer = Refusal(
                request.id, MachineError(f"Ray: {type(error).__name__}: {first_line(str(error))}")
            )
        await write_line(self._writer, wire.write_line(answer))

    async def _carry_out(self, node: str, instruction: Instruction[Any]) -> Mapping[str, Any]:
        if isinstance(instruction, Expel):
            return codec.write(await self._expel(instruction.name))
        if isinstance(instruction, Rekey):
            return codec.write(await self._rekey())
        member = self._members.get(node)
        if member is None:
            raise MachineError(f"{node} is no member of the cluster at present")
        answer = await self._ask(member, instruction)
        if not self._members.speaks(member):
            raise MachineError(f"{node} has joined anew; what it said before counts no more")
        return answer

    async def _expel(self, name: str) -> Nothing:
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

    async def _rekey(self) -> Rekeyed:
        """Once: a box keeps one that is to come, and the head that is started next counts on it. Raises MachineError
        where there is nothing to be renewed."""
        listening = self._settings.listening
        if listening is None or not listening.tls or self._open_gate is None:
            raise MachineError("this cluster has no certificates")
        if self._is_renewed:
            raise MachineError(
                "the cluster's authority is being renewed already, and Ray is started anew; `gpujobs node list` shows "
                "when the boxes are back"
            )
        self._is_renewed = True
        try:
            return await self._renewed(self._open_gate, listening.address)
        except BaseException:
            self._is_renewed = False
            raise

    async def _renewed(self, gate: JoinGate, address: str) -> Rekeyed:
        files, secret = TlsFiles(self._paths.tls), secrets.token_hex(32)
        coming = await asyncio.to_thread(renewal.prepare, files, address, secret)
        names = await gate.renew(partial(renewal.for_box, coming))
        renewal.take(files, self._paths.cluster_token)
        return Rekeyed(tuple(names))

    async def _ask(self, member: Member[Any], instruction: Instruction[Any]) -> Mapping[str, Any]:
        agent = member.agent
        if isinstance(instruction, Collect):
            chunks = agent.collect.remote(codec.write(instruction))
            return codec.write(Collected(await write_chunks(chunks, Path(instruction.destination))))
        if isinstance(instruction, Deliver):
            await self._deliveries.deliver(agent, instruction)
            return codec.write(Nothing())
        if isinstance(instruction, BringHome):
            places = self._places.setdefault(member.incarnation, Places())
            return codec.write(await bring_home(agent, instruction, places))
        return answer_of(await agent.carry_out.remote(written(instruction)))


async def _end_with(ray: RayProcesses) -> None:
    """Where one of Ray's processes has died, the others are of no use."""
    await ray.ended()
    say(f"Ray has ended: {ray.last_words}")
    os._exit(1)


def _ray_has_ended(task: asyncio.Task[None]) -> None:
    """Without its agent the head is of no use; the daemon sees the end and starts over."""
    if not task.cancelled():
        say(f"the node agent is gone: {task.exception()!r}")
        os._exit(1)


if __name__ == "__main__":
    main()
