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

from gpujobs.cluster.collecting import write_chunks
from gpujobs.cluster.environment import (
    OBJECT_STORE_BYTES,
    make_temp_parent,
    make_token,
    object_store_directory,
    ray_environment,
    remove_temp_parent,
)
from gpujobs.cluster.jsonlines import read_lines, write_line
from gpujobs.cluster.orphans import become_only_head
from gpujobs.errors import GpujobsError, MachineError, ProtocolError, from_wire
from gpujobs.linux.saying import say
from gpujobs.model import DeviceKind, NodeStatus
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import read_once
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol import head as wire
from gpujobs.protocol.codec import Message, ShapeError
from gpujobs.protocol.events import HeadFailed, NodeReported
from gpujobs.protocol.head import Answer, Refusal, Request
from gpujobs.protocol.instructions import Collect, Collected, Instruction
from gpujobs.protocol.launcher import Refused
from gpujobs.protocol.settings import NodeSettings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    connection = socket.socket(fileno=parser.parse_args().fd)
    settings = codec.parse(NodeSettings, _first_line(connection))
    paths = StatePaths(Path(settings.state_dir))
    with _telling(connection):
        become_only_head(paths.head_lock)
        temp_parent = make_temp_parent(paths)
    try:
        with _telling(connection):
            start_ray(paths, temp_parent, settings)
        asyncio.run(Head(settings).run(connection))
    finally:
        import ray

        ray.shutdown()
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


def first_line(text: str) -> str:
    return next(filter(None, (line.strip() for line in text.splitlines())), "")[:500]


def _first_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            sys.exit("the daemon closed the connection before it sent the settings")
        line += byte
    return line


def start_ray(paths: StatePaths, temp_parent: Path, settings: NodeSettings) -> None:
    """A cluster of this machine alone. The address is explicit: a bare init would follow a file in
    /tmp that anybody can write, and show our token to whoever is named there."""
    make_token(paths.ray_token)
    os.environ.update(ray_environment(paths))
    node = devices_of(read_once(settings.probe_deadline_seconds), settings.node_name, settings.cpu_slots)
    gpus = sum(device.kind is DeviceKind.GPU for device in node.devices)
    from gpujobs.cluster import ray_init

    ray_init.init(
        address="local",
        num_gpus=gpus,
        resources={"gpujobs_node": 1},
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(temp_parent / "s"),
        **_object_store(temp_parent),
    )


def _object_store(temp_parent: Path) -> dict[str, str]:
    directory = object_store_directory(OBJECT_STORE_BYTES, temp_parent)
    if directory is None:
        return {}
    say(f"/dev/shm cannot be used; Ray's object store is in {directory}")
    return {"_plasma_directory": str(directory)}


class Head:
    """Relays the daemon's calls to the node agents, and their events to the daemon."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._agents: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 26)
        await self._join(self._settings.node_name)
        await self._report(writer, NodeStatus.OK, "")
        relay = asyncio.create_task(self._relay_events(self._settings.node_name, writer))
        relay.add_done_callback(_ray_has_ended)
        async for line in read_lines(reader):
            task = asyncio.create_task(self._take(line, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        relay.cancel()

    async def _join(self, name: str) -> None:
        from gpujobs.cluster.actor import start_agent

        self._agents[name] = await start_agent(self._settings)

    async def _report(self, writer: asyncio.StreamWriter, status: NodeStatus, message: str) -> None:
        report = NodeReported(self._settings.node_name, status, message)
        await write_line(writer, wire.write_line(report))

    async def _relay_events(self, name: str, writer: asyncio.StreamWriter) -> None:
        while True:
            for event in await self._agents[name].next_events.remote():
                await write_line(writer, wire.write_line(event))

    async def _take(self, line: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        try:
            request = wire.request_of(line)
        except ShapeError as error:
            number = int(line.get("id", 0))
            await write_line(writer, wire.write_line(Refusal(number, ProtocolError(str(error)))))
        else:
            await self._answer(request, writer)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        answer: Answer | Refusal
        try:
            answer = Answer(request.id, codec.write(await self._carry_out(request.node, request.instruction)))
        except GpujobsError as error:
            answer = Refusal(request.id, error)
        except Exception as error:  # noqa: BLE001 - whatever Ray raises, the daemon must hear of it
            answer = Refusal(request.id, MachineError(f"Ray: {type(error).__name__}: {error}"))
        await write_line(writer, wire.write_line(answer))

    async def _carry_out(self, node: str, instruction: Instruction[Any]) -> Message:
        agent = self._agents.get(node)
        if agent is None:
            raise MachineError(f"{node} is no member of the cluster")
        if isinstance(instruction, Collect):
            chunks = agent.collect.remote(instruction)
            return Collected(await write_chunks(chunks, Path(instruction.destination)))
        answer: Message = await agent.carry_out.remote(instruction)
        if isinstance(answer, Refused):
            raise from_wire(dict(answer.error))
        return answer


def _ray_has_ended(task: asyncio.Task[None]) -> None:
    """Without its agent the head is of no use; the daemon sees the end and starts over."""
    if not task.cancelled():
        say(f"the node agent is gone: {task.exception()!r}")
        os._exit(1)


if __name__ == "__main__":
    main()
