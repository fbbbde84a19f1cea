"""What the head does with boxes that join. No Ray runs: what is placed is a stand-in for Ray's handle of an actor."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import psutil
import pytest

from gpujobs.cluster import actor, certificates, gate_opening
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.gate_opening import gate_of, open_gate
from gpujobs.cluster.head import Head
from gpujobs.cluster.link import ClusterLink
from gpujobs.cluster.rekeying import Rekeying
from gpujobs.cluster.versions import own_versions
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.handlers import doctor
from gpujobs.errors import MachineError
from gpujobs.model import Node, NodeStatus
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Rekeyed
from gpujobs.protocol.joining import FORMAT, Hello, Ready
from gpujobs.protocol.settings import HeadSettings, Listening
from tests.specs import node_settings

T = TypeVar("T")


HELLO = Hello(
    format=FORMAT, name="box2", node_id="77", instance="9a", uid=0, versions=own_versions(),
    clock=time.time(), address="", ports=(),
)  # fmt: skip
READY = Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0)


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The incarnations that an agent was placed on."""
    found: list[str] = []

    async def start_agent(settings: Any, incarnation: str, gpus: int) -> Any:
        found.append(incarnation)
        await asyncio.sleep(0)
        return SimpleNamespace(next_events=SimpleNamespace(remote=lambda _: asyncio.Event().wait()))

    monkeypatch.setattr(actor, "start_agent", start_agent)
    return found


def with_head(tmp_path: Path, work: Callable[[Head], Awaitable[T]]) -> T:
    """What the work returns, with a head whose lines nobody reads."""
    ours, theirs = socket.socketpair()

    async def run() -> T:
        listening = Listening("127.0.0.1", 8480, False)
        head = Head(HeadSettings(node_settings(tmp_path), listening, None), StatePaths(tmp_path), 0)
        _, head._writer = await asyncio.open_connection(sock=ours)
        found = await work(head)
        for task in list(head._tasks):
            task.cancel()
        await asyncio.gather(*head._tasks, return_exceptions=True)
        head._writer.close()
        await head._writer.wait_closed()
        return found

    with theirs:
        return asyncio.run(run())


def test_a_box_with_two_lines_at_once_gets_one_agent(tmp_path: Path, placed: list[str]) -> None:
    """As after a cut: the older line is not known to be dead yet when the box has joined again."""

    async def work(head: Head) -> tuple[asyncio.Event, asyncio.Event]:
        return await asyncio.gather(head._agents.take_in(HELLO, READY), head._agents.take_in(HELLO, READY))

    one, other = with_head(tmp_path, work)
    assert placed == ["1"] and one is other


def test_a_box_that_comes_before_the_heads_own_agent_is_there_waits_for_it(
    tmp_path: Path, placed: list[str]
) -> None:
    """Its Ray starts meanwhile, but the daemon counts on the head's own box first."""

    async def work(head: Head) -> list[str]:
        coming = asyncio.create_task(head._agents.take_in_after_own(HELLO, READY))
        await asyncio.sleep(0.05)
        before = list(placed)
        head._agents._own_is_in.set()
        await coming
        return before

    assert with_head(tmp_path, work) == [] and placed == ["1"]


def test_a_box_that_is_shut_out_while_its_agent_is_placed_has_none_afterwards(
    tmp_path: Path, placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told while it is placed waits for that."""
    gone = list[str]()
    monkeypatch.setattr(actor, "end_agent", lambda agent: gone.append("ended"))

    async def work(head: Head) -> bool:
        coming = asyncio.create_task(head._agents.take_in(HELLO, READY))
        while not placed and not head._agents._placing[HELLO.name].locked():
            await asyncio.sleep(0)
        await head._agents.expel(HELLO.name)
        ended = await coming
        return ended.is_set() and head._agents._members.get(HELLO.name) is None

    assert with_head(tmp_path, work) and gone == ["ended"]


def test_an_authority_is_renewed_once_at_a_time(tmp_path: Path) -> None:
    """A box keeps one that is to come: of two it would have that which the head never takes."""
    paths = StatePaths(tmp_path)
    certificates.keep_box(TlsFiles(paths.tls), "127.0.0.1")
    given = list[object]()

    class Gate:
        async def renew(self, made: object) -> list[str]:
            if not given:
                given.append(made)
                raise MachineError("no box answers")
            given.append(made)
            return ["box2"]

    async def work() -> tuple[object, ...]:
        rekeying = Rekeying(paths, Listening("127.0.0.1", 8480, True), Gate())  # type: ignore[arg-type]
        with pytest.raises(MachineError, match="no box answers"):
            await rekeying.rekey()
        return tuple(await asyncio.gather(rekeying.rekey(), rekeying.rekey(), return_exceptions=True))

    done, refused = asyncio.run(work())
    assert done == Rekeyed(("box2",)) and len(given) == 2
    assert "is being renewed already" in str(refused)


def test_a_port_of_joining_that_is_taken_is_told_of_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing ends for it: the head serves its own box, and lets others in as soon as it can."""
    monkeypatch.setattr(gate_opening, "DOOR_SECONDS", 0.01)
    ours, theirs = socket.socketpair()
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    listening = Listening("127.0.0.1", port, False)
    settings = node_settings(tmp_path)
    link = ClusterLink(
        StatePaths(tmp_path), settings, listening, on_node=lambda _: None, on_attempt=lambda _: None
    )
    nodes = Nodes(link, settings.node_name)
    own = Node(settings.node_name, NodeStatus.OK)

    async def run() -> None:
        head = Head(HeadSettings(settings, listening, None), StatePaths(tmp_path), 0)
        _, head._writer = await asyncio.open_connection(sock=ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
        StatePaths(tmp_path).cluster_token.parent.mkdir(parents=True, exist_ok=True)
        gate = gate_of(head._settings, head._paths, head._agents)
        assert gate is not None
        opening = asyncio.create_task(open_gate(gate, head._tell))
        link._take(json.loads(await reader.readline()), writer)
        taker = f"process {os.getpid()} ({psutil.Process().name()}, of {psutil.Process().username()})"
        said = f"no box can join: 127.0.0.1:{port}, which [cluster] listen names, is taken by {taker}; end it, or name"
        assert nodes.message(own).startswith(said)
        assert nodes.message(Node("box2", NodeStatus.OK)) == ""
        (check,) = doctor._cluster(SimpleNamespace(link=link))  # type: ignore[arg-type]
        assert check == {"name": "cluster", "ok": False, "message": link.door}
        assert not opening.done()
        taken.close()
        link._take(json.loads(await asyncio.wait_for(reader.readline(), 5)), writer)
        await opening
        assert nodes.message(own) == ""
        socket.create_connection(("127.0.0.1", port)).close()
        await gate.close()
        for one in (head._writer, writer):
            one.close()

    asyncio.run(run())
    assert capfd.readouterr().err.count("no box can join") == 1


def test_an_address_that_is_not_of_this_box_is_named(tmp_path: Path) -> None:
    listening = Listening("192.0.2.1", 8480, False)
    head = Head(HeadSettings(node_settings(tmp_path), listening, None), StatePaths(tmp_path), 0)
    gate = gate_of(head._settings, head._paths, head._agents)
    assert gate is not None
    with pytest.raises(MachineError, match=r"nothing can listen at 192\.0\.2\.1:8480 \(Cannot assign"):
        asyncio.run(gate.open())
    asyncio.run(gate.close())
