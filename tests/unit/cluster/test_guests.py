"""Agents on a Ray that is there already: what they keep on their box, and what the head says of them. No Ray runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpujobs.backends import JAX, TENSORFLOW
from gpujobs.cluster import guests
from gpujobs.cluster.guests import GuestActor, keep_guests
from gpujobs.cluster.head import Head
from gpujobs.cluster.launchers import Launchers
from gpujobs.cluster.members import Member
from gpujobs.errors import MachineError
from gpujobs.linux.stateid import state_id
from gpujobs.node import keepers
from gpujobs.node.wiped import State
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.settings import HeadSettings
from tests.specs import node_settings


class Told(Launchers):
    """Starts none, and notes what it is asked for."""

    heard: list[tuple[str, str]]

    def use(self, backend: str) -> None:
        self.heard.append(("use", backend))

    def suspect(self, backend: str) -> None:
        self.heard.append(("suspect", backend))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    Told.heard = []
    monkeypatch.setattr(guests, "Launchers", Told)
    return Told.heard


def test_a_guest_keeps_the_launchers_that_its_agent_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = replace(node_settings(tmp_path, state_id=""), node_name="box2", instance="9a" * 16)

    async def run() -> None:
        actor = GuestActor(codec.write(settings))
        await actor.open()
        paths = StatePaths(guests._place(settings))
        keepers.ask(paths.keeper_socket, TENSORFLOW)
        keepers.suspect(paths.keeper_socket, JAX)
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.01)
        assert actor._agent is not None
        actor._watching.cancel()
        for listening in (actor._socket, actor._agent._following._socket):
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()

    asyncio.run(run())
    assert heard == [("use", TENSORFLOW), ("suspect", JAX)]


@pytest.mark.parametrize(("name", "is_told"), [("box2", False), ("box3", True)])
def test_another_node_of_a_members_name_does_not_speak_for_it(
    tmp_path: Path, name: str, is_told: bool
) -> None:
    """As two Rays on one box have it: the one that comes late is refused, and the member is not away for it."""
    ours, theirs = socket.socketpair()

    async def run() -> None:
        head = Head(HeadSettings(node_settings(tmp_path), None, "10.0.0.5:6379"), StatePaths(tmp_path), 0)
        _, head._writer = await asyncio.open_connection(sock=ours)
        head._agents._members.admit(Member("box2", "77", "a", "a.1", None))
        await head._agents.lacking(name, "its name is that of another box")
        head._writer.close()
        await head._writer.wait_closed()

    with theirs:
        asyncio.run(run())
        lines = [json.loads(line) for line in theirs.makefile()]
    assert [line["name"] for line in lines] == ([name] if is_told else [])


def test_a_node_that_can_have_no_agent_is_tried_ever_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has one: then it begins anew."""
    node = {"NodeID": "7", "NodeManagerHostname": "box2", "Alive": True, "Resources": {}}
    tries, told, pauses = iter([None, None, {"node_id": "77"}, None]), list[str](), list[float]()
    ends, sleep = asyncio.Event(), asyncio.sleep
    ends.set()

    async def started(*_: object) -> tuple[None, Mapping[str, Any]]:
        said = next(tries)
        if said is None:
            raise MachineError("no")
        return None, said

    async def take_in(*_: object) -> asyncio.Event:
        return ends

    async def lacking(name: str, why: str) -> None:
        told.append(why)

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(guests, "_started", started)
    monkeypatch.setattr("asyncio.sleep", slept)

    async def run() -> None:
        failures: Counter[str] = Counter()
        for _ in range(4):
            await guests._follow(node, node_settings(tmp_path), take_in, lacking, failures)

    asyncio.run(run())
    assert pauses == [5, 10, 5]
    assert told == [f"no; another try in {pause} s" for pause in (5, 10, 5)]
    assert guests._pause(7) == guests._pause(10000) == 300


def test_nodes_are_looked_at_again_where_ray_did_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    looks: list[None] = []

    def nodes() -> list[Mapping[str, Any]]:
        looks.append(None)
        raise RuntimeError("the GCS is away")

    context = SimpleNamespace(get_node_id=lambda: "own")
    monkeypatch.setattr(guests, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr("ray.nodes", nodes)
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)

    async def run() -> None:
        async def never(*_: object) -> Any:
            raise AssertionError

        keeping = asyncio.create_task(keep_guests(node_settings(tmp_path), never, never))
        async with asyncio.timeout(5):
            while len(looks) < 2 and not keeping.done():
                await asyncio.sleep(0.01)
        assert not keeping.done()
        keeping.cancel()

    asyncio.run(run())
    assert (
        "the nodes of Ray were looked at in vain: RuntimeError('the GCS is away')" in capfd.readouterr().err
    )


def test_a_ray_that_does_not_say_which_nodes_it_has_is_asked_ever_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it does: then it begins anew. Asyncio's own sleep is noted, and Ray is not there."""
    answers, pauses = iter([False, False, False, True, False]), list[float]()
    sleep = asyncio.sleep

    def nodes() -> list[Mapping[str, Any]]:
        if not next(answers):
            raise ConnectionError("its GCS is away")
        return [{"NodeID": "own", "Alive": True}]

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            raise asyncio.CancelledError
        await sleep(0)

    context = SimpleNamespace(get_node_id=lambda: "own")
    monkeypatch.setattr(guests, "ray", SimpleNamespace(nodes=nodes, get_runtime_context=lambda: context))
    monkeypatch.setattr(asyncio, "sleep", slept)

    async def unused(*_: object) -> Any:
        raise AssertionError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_guests(node_settings(tmp_path), unused, unused))
    assert pauses == [5.0, 10.0, 20.0, 5.0, 5.0]


def test_a_guest_whose_state_was_removed_ends_as_the_box_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, ended = StatePaths(tmp_path / "s"), list[int]()
    for path in (paths.run, paths.spool / "jobs", paths.spool / "data"):
        path.mkdir(parents=True)
    known = state_id(paths.identity)

    def end(status: int) -> None:
        ended.append(status)

    in_vain = [MachineError("process 1 works for an attempt, and cannot be ended")]
    real = State.end_all

    def end_all(state: State) -> int:
        if in_vain:
            raise in_vain.pop()
        return real(state)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(guests, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(State, "end_all", end_all)

    async def run() -> None:
        watching = asyncio.create_task(guests._end_when_gone(paths, known))
        await asyncio.sleep(0.05)
        shutil.rmtree(paths.root)
        await asyncio.wait_for(watching, 5)

    asyncio.run(run())
    assert ended == [1] and state_id(paths.identity) == known
