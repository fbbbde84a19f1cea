"""What could be in the way of a box that joins (ports, disk, what the head says): it is looked at first, in words."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import time
from collections.abc import AsyncIterator, Sequence

from gpujobs.cluster.box import Box
from gpujobs.cluster.gate import PORT_SECONDS
from gpujobs.cluster.line_to_head import line_to
from gpujobs.cluster.ray_node import answers
from gpujobs.cluster.taken import ON_A_NODE, holder, require_free
from gpujobs.cluster.versions import own_versions
from gpujobs.errors import MachineError, in_words
from gpujobs.linux import statelock
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import FORMAT, Hello, Welcome

FREE_BYTES = 2 << 30
"""Below which a box does not join: data, checkpoints and results are written on it."""

NEEDED = (
    "end what listens there: Ray has these ports on every box, from that of the head's [cluster] listen on"
)


def hello_of(box: Box, ports: tuple[int, ...], *, request: str = "", trial: bool = False) -> Hello:
    return Hello(
        format=FORMAT,
        name=box.name,
        node_id=box.node_id,
        instance=box.token.instance,
        uid=os.geteuid(),
        versions=own_versions(),
        clock=time.time(),
        address=box.address,
        ports=ports,
        request=request,
        trial=trial,
        takes_renewal=True,
    )


async def trial(box: Box) -> Welcome:
    """Whether the head would take this box now; nothing is changed. Raises what is in the way."""
    is_running = await _runs_here(box)
    if not is_running:
        await require_free(box.ports, ON_A_NODE, NEEDED)
    listening = (box.ports["raylet"], box.ports["object_manager"])
    async with (
        line_to(box) as line,
        open_ports(box, () if is_running else box.ports.of_a_node) as opened,
    ):
        await line.say(hello_of(box, listening if is_running else opened, trial=True))
        welcome = await line.expect(Welcome)
    await require_ports(box, welcome.name)
    return welcome


async def _runs_here(box: Box) -> bool:
    """Whether it is this box's own Ray that has the ports."""
    is_joined = statelock.holder(box.paths.lock) is not None
    return is_joined and await answers("127.0.0.1", box.ports["raylet"])


@contextlib.asynccontextmanager
async def open_ports(box: Box, ports: Sequence[int]) -> AsyncIterator[tuple[int, ...]]:
    """Answers on the ports that Ray will use here, while the head tries them. Raises MachineError for one that is in
    use."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # the head closes first: so the port stays free of what lingers
        writer.close()

    servers = []
    try:
        for port in ports:
            try:
                servers.append(await asyncio.start_server(answer, box.address or "0.0.0.0", port))
            except OSError as error:
                why = f"is taken by {holder(port)}" if error.errno == errno.EADDRINUSE else in_words(error)
                raise MachineError(f"port {port} of this box {why}; {NEEDED}") from None
        yield tuple(ports)
    finally:
        for server in servers:
            server.close()


async def require_ports(box: Box, head: str) -> None:
    wanted = box.ports.of_the_head
    tried = await asyncio.gather(*(answers(box.head, port, PORT_SECONDS) for port in wanted))
    closed = [str(port) for port, is_open in zip(wanted, tried, strict=True) if not is_open]
    if closed:
        raise MachineError(
            f"this box cannot reach {head} ({box.head}) on port{'s' * (len(closed) > 1)} {', '.join(closed)}; "
            "a firewall "
            f"there must let it in on {box.ports.words}"
        )


def require_disk(paths: StatePaths) -> None:
    free = shutil.disk_usage(paths.root).free
    if free < FREE_BYTES:
        raise MachineError(
            f"{paths.root} has {free / 2**30:.1f} GiB free; expected at least {FREE_BYTES >> 30} GiB for "
            "data, checkpoints "
            "and results of the jobs that run here"
        )
