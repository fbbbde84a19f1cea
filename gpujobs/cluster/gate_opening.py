"""The head's gate: made of what the head knows, and opened as soon as its port is free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gpujobs.cluster import certificates, passes, roster
from gpujobs.cluster.agents import Agents
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.environment import lasting_token
from gpujobs.cluster.gate import JoinGate
from gpujobs.cluster.passes import Shown, User
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.tls import of_the_head
from gpujobs.cluster.versions import own_versions
from gpujobs.errors import MachineError
from gpujobs.linux.saying import say
from gpujobs.paths import StatePaths
from gpujobs.protocol import head as wire
from gpujobs.protocol.events import DoorReported
from gpujobs.protocol.settings import HeadSettings

DOOR_SECONDS, LONGEST_DOOR_SECONDS = 1.0, 60.0
"""Until a port of joining that is taken is tried again, at first and at most."""


def gate_of(settings: HeadSettings, paths: StatePaths, agents: Agents) -> JoinGate | None:
    """None where no other box can join."""
    listening = settings.listening
    if listening is None:
        return None
    tls = TlsFiles(paths.tls) if listening.tls else None
    return JoinGate(
        name=settings.node.node_name,
        address=listening.address,
        ports=Ports(listening.port),
        secret=lasting_token(paths.cluster_token),
        instance=settings.node.instance,
        uid=os.geteuid(),
        versions=own_versions(),
        obstacle=agents.obstacle,
        admit=agents.take_in_after_own,
        tls=None if tls is None else of_the_head(tls),
        sign=None if tls is None else partial(certificates.sign, tls),
        expel=agents.expel,
        let_in=(lambda *_: None) if tls is None else partial(_let_in, tls, paths.nodes),
    )


def _let_in(tls: TlsFiles, nodes: Path, shown: Shown, user: User, joins: bool) -> str | None:
    def joined() -> set[str]:
        return {node.id for node in roster.known(nodes).values()}

    if joins:
        return passes.use(tls, shown, user, joined)
    return passes.obstacle(passes.known(tls), shown, user.id, joined)


async def open_gate(gate: JoinGate, tell: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
    """Our own box is served whatever is at the port: it is tried again, as nobody tells when it is free."""
    pause, told = DOOR_SECONDS, ""
    while True:
        try:
            await gate.open()
        except MachineError as error:
            if error.message != told:
                told = error.message
                say(told)
                await tell(wire.write_line(DoorReported(told)))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_DOOR_SECONDS)
        else:
            break
    if told:
        say("boxes can join again")
        await tell(wire.write_line(DoorReported("")))
