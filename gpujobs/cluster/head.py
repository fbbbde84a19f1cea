"""Ray's driver, in a process of its own: `python -m gpujobs.cluster.head --fd N`.

It speaks with the daemon over the inherited socket (docs/protocol.md, section 2). The first line
holds the settings. When the socket closes, Ray is stopped and the process ends; when Ray ends, the
process ends too, and the daemon starts another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpujobs.cluster.agents import Agents
from gpujobs.cluster.collecting import write_chunks
from gpujobs.cluster.delivering import Deliveries, answer_of
from gpujobs.cluster.environment import (
    make_temp_parent,
    remove_temp_parent,
)
from gpujobs.cluster.gate_opening import gate_of, open_gate
from gpujobs.cluster.homecoming import bring_home
from gpujobs.cluster.jsonlines import read_lines, write_line
from gpujobs.cluster.members import Member
from gpujobs.cluster.orphans import become_only_head
from gpujobs.cluster.ray_node import RayProcesses
from gpujobs.cluster.rekeying import Rekeying
from gpujobs.cluster.starting_ray import first_line, gpus_here, start_cluster, start_ray, use_ray
from gpujobs.errors import GpujobsError, MachineError, ProtocolError
from gpujobs.linux.saying import say
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol import head as wire
from gpujobs.protocol.boxes import BringHome, Deliver, Expel, Rekey
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.events import HeadFailed
from gpujobs.protocol.head import Answer, Refusal, Request
from gpujobs.protocol.instructions import Collect, Collected, written
from gpujobs.protocol.settings import HeadSettings
from gpujobs.protocol.telling import Instruction, Nothing


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
        self._agents = Agents(settings, paths.nodes, self._tell, self._spawn)
        self._deliveries = Deliveries()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rekeying: Rekeying
        self._writer: asyncio.StreamWriter

    async def run(self, connection: socket.socket, ray: RayProcesses | None) -> None:
        reader, self._writer = await asyncio.open_connection(sock=connection, limit=1 << 26)
        from gpujobs.cluster.actor import start_own_agent

        if ray is not None:
            self._spawn(_end_with(ray))
        own = self._settings.node
        gate = gate_of(self._settings, self._paths, self._agents)
        self._rekeying = Rekeying(self._paths, self._settings.listening, gate)
        if gate is not None:  # the others start their Ray while our own agent starts
            self._spawn(open_gate(gate, self._tell))
        agent = await start_own_agent(own, self._gpus)
        await self._agents.take_own(agent)
        if self._settings.ray_address is not None:
            from gpujobs.cluster.guests import keep_guests

            self._spawn(keep_guests(own, self._agents.take_guest, self._agents.lacking))
        async for line in read_lines(reader):
            self._spawn(self._take(line))
        for task in list(self._tasks):
            task.cancel()
        if gate is not None:
            await gate.close()

    async def _tell(self, line: Mapping[str, Any]) -> None:
        await write_line(self._writer, line)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _take(self, line: Mapping[str, Any]) -> None:
        try:
            request = wire.request_of(line)
        except ShapeError as error:
            number = int(line.get("id", 0))
            await self._tell(wire.write_line(Refusal(number, ProtocolError(str(error)))))
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
        await self._tell(wire.write_line(answer))

    async def _carry_out(self, node: str, instruction: Instruction[Any]) -> Mapping[str, Any]:
        if isinstance(instruction, Expel):
            return codec.write(await self._agents.expel(instruction.name))
        if isinstance(instruction, Rekey):
            return codec.write(await self._rekeying.rekey())
        member = self._agents.of(node)
        answer = await self._ask(member, instruction)
        self._agents.require_speaks(member)
        return answer

    async def _ask(self, member: Member[Any], instruction: Instruction[Any]) -> Mapping[str, Any]:
        agent = member.agent
        if isinstance(instruction, Collect):
            chunks = agent.collect.remote(codec.write(instruction))
            return codec.write(Collected(await write_chunks(chunks, Path(instruction.destination))))
        if isinstance(instruction, Deliver):
            await self._deliveries.deliver(agent, instruction)
            return codec.write(Nothing())
        if isinstance(instruction, BringHome):
            return codec.write(await bring_home(agent, instruction, self._agents.places_of(member)))
        return answer_of(await agent.carry_out.remote(written(instruction)))


async def _end_with(ray: RayProcesses) -> None:
    """Where one of Ray's processes has died, the others are of no use."""
    await ray.ended()
    say(f"Ray has ended: {ray.last_words}")
    os._exit(1)


if __name__ == "__main__":
    main()
