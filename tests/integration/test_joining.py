"""What is in the way of a box that wants to join is said in words, on both boxes, before Ray is started."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpujobs.cluster import roster
from gpujobs.cluster.box import Box, remember, require_same_cluster
from gpujobs.cluster.gate import JoinGate, beat
from gpujobs.cluster.joiner import Joiner
from gpujobs.cluster.ports import NAMED, Ports
from gpujobs.cluster.ray_node import RayNode, RayProcesses
from gpujobs.cluster.sealed import RefusedError, Sealed
from gpujobs.cluster.versions import own_versions
from gpujobs.errors import GpujobsError, MachineError, NotPermittedError, UsageError
from gpujobs.linux import durable
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import FORMAT, OLDEST, Hello, Joined, Ready, TokenFile, Versions, Welcome

SECRET, INSTANCE = "5e" * 32, "9a" * 16
OURS = own_versions()


def free_base() -> int:
    """A port after which those of a cluster are free, too, as far as it can be told: workers, whose pids are near,
    begin at different ones, below those that the kernel gives to whoever connects."""
    for base in range(20000 + os.getpid() % 90 * 130, 60000, 130):
        try:
            for offset in range(len(NAMED)):
                with closing(socket.create_server(("127.0.0.1", base + offset))):
                    pass
        except OSError:
            continue
        return base
    pytest.fail("no port is free")


async def _admit(hello: Hello, ready: Ready) -> asyncio.Event:
    return asyncio.Event()


@asynccontextmanager
async def gate(
    paths: StatePaths,
    *,
    versions: Versions = OURS,
    secret: str = SECRET,
    uid: int | None = None,
    admit: Callable[[Hello, Ready], Awaitable[asyncio.Event]] = _admit,
    formats: range = range(OLDEST, FORMAT + 1),
) -> AsyncIterator[JoinGate]:
    made = JoinGate(
        name="head",
        address="127.0.0.1",
        ports=Ports(free_base()),
        secret=secret,
        instance=INSTANCE,
        uid=os.geteuid() if uid is None else uid,
        versions=versions,
        obstacle=lambda name, id: roster.obstacle(paths.nodes, name, id),
        admit=admit,
        formats=formats,
    )
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def hello(**fields: Any) -> Hello:
    whole: dict[str, Any] = {
        "format": FORMAT, "name": "box2", "node_id": "77", "instance": INSTANCE, "uid": os.geteuid(),
        "versions": OURS, "clock": time.time(), "address": "", "ports": (),
    }  # fmt: skip
    return Hello(**{**whole, **fields})


async def say_hello(made: JoinGate, said: Hello, secret: str = SECRET) -> Welcome:
    reader, writer = await asyncio.open_connection("127.0.0.1", made._ports["joining"])
    line = Sealed(reader, writer, secret, is_head=False)
    try:
        await line.greet()
        await line.say(said)
        return await line.expect(Welcome)
    finally:
        line.close()


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path / "s")
    made.run.mkdir(parents=True)
    made.spool.mkdir()
    return made


def refusal(paths: StatePaths, said: Callable[[], Hello], **options: Any) -> str:
    async def ask() -> None:
        async with gate(paths, **options) as made:
            await say_hello(made, said())

    with pytest.raises(RefusedError) as caught:
        asyncio.run(ask())
    return str(caught.value)


def test_a_box_with_nothing_in_the_way_is_welcome(paths: StatePaths) -> None:
    async def ask() -> Welcome:
        async with gate(paths) as made:
            return await say_hello(made, hello())

    welcome = asyncio.run(ask())
    assert (welcome.name, welcome.address) == ("head", "127.0.0.1")


@pytest.mark.parametrize(("field", "word"), [("ray", "Ray"), ("python", "Python")])
def test_another_version_is_named_with_what_to_install(paths: StatePaths, field: str, word: str) -> None:
    other = replace(OURS, **{field: "1.2.3"})
    said = refusal(paths, lambda: hello(versions=other))
    own = getattr(OURS, field)
    assert said == (
        f"{word} is 1.2.3 there and {own} here; expected the same on both boxes: install {word} {own} there"
    )


@pytest.mark.parametrize(
    ("format", "version", "words"),
    [
        (
            FORMAT + 1,
            "99.0",
            f"gpujobs 99.0 there is later than {OURS.gpujobs} here by more than works together; update the head's box "
            "first (docs/cluster.md, Updating)",
        ),
        (
            OLDEST - 1,
            "0.0.1",
            f"gpujobs 0.0.1 there is older than works with {OURS.gpujobs} here; install gpujobs {OURS.gpujobs} there: "
            "trainings go on meanwhile, until their lease ends",
        ),
    ],
)
def test_another_gpujobs_that_does_not_work_together_is_named_with_which_box_to_update(
    paths: StatePaths, format: int, version: str, words: str
) -> None:
    other = replace(OURS, gpujobs=version)
    assert refusal(paths, lambda: hello(versions=other, format=format)) == words


def test_a_box_of_the_version_before_is_welcome_to_the_next_head(paths: StatePaths) -> None:
    """So that the boxes of a site are updated one by one, the head's first."""
    other = replace(OURS, gpujobs="99.0")

    async def ask() -> Welcome:
        async with gate(paths, versions=other, formats=range(FORMAT, FORMAT + 2)) as made:
            return await say_hello(made, hello())

    assert asyncio.run(ask()).name == "head"


@pytest.mark.parametrize(("off", "word"), [(60, "ahead of"), (-60, "behind")])
def test_a_clock_that_is_off_is_named_with_how_much(paths: StatePaths, off: float, word: str) -> None:
    said = refusal(paths, lambda: hello(clock=time.time() + off))
    assert f"its clock is 60 s {word} that of head; expected at most 5 s" in said


def test_a_clock_within_five_seconds_is_well(paths: StatePaths) -> None:
    async def ask() -> Welcome:
        async with gate(paths) as made:
            return await say_hello(made, hello(clock=time.time() - 4))

    assert asyncio.run(ask()).name == "head"


def test_a_name_of_another_box_is_taken_and_of_the_same_box_is_not(paths: StatePaths) -> None:
    roster.add(paths.nodes, "box2", "another")
    assert refusal(paths, hello).startswith("the name box2 is that of another box, which joined at 20")
    roster.remove(paths.nodes, "box2")
    roster.add(paths.nodes, "box2", "77")

    async def ask() -> Welcome:
        async with gate(paths) as made:
            return await say_hello(made, hello())

    assert asyncio.run(ask()).name == "head"


def test_two_changes_of_the_roster_at_one_moment_are_both_kept(paths: StatePaths) -> None:
    """The head adds a box while the daemon strikes out another: two processes, again and again."""
    roster.add(paths.nodes, "kept", "1")
    work = (
        "import sys; from pathlib import Path; from gpujobs.cluster import roster\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for number in range(40):\n"
        "    roster.add(path, f'{name}{number}', name)\n"
        "    if number % 2: roster.remove(path, f'{name}{number}')\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", work, str(paths.nodes), name]) for name in ("a", "b")]
    assert [one.wait(60) for one in both] == [0, 0]
    assert set(roster.known(paths.nodes)) == {"kept", *(f"{n}{k}" for n in "ab" for k in range(0, 40, 2))}


def test_of_two_boxes_that_join_under_one_name_at_once_the_second_is_refused(paths: StatePaths) -> None:
    """Both were looked at before either was there."""
    roster.add(paths.nodes, "box2", "77")
    with pytest.raises(MachineError, match="the name box2 is that of another box"):
        roster.add(paths.nodes, "box2", "another")
    assert roster.known(paths.nodes)["box2"].id == "77"


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 64, "ä", "a\n"])
def test_a_name_that_cannot_be_an_argument_is_refused(paths: StatePaths, name: str) -> None:
    assert "is no name for a node" in refusal(paths, lambda: hello(name=name))


def test_another_user_is_refused(paths: StatePaths) -> None:
    said = refusal(paths, hello, uid=4711)
    assert said.startswith(f"it would run as uid {os.geteuid()}; expected uid 4711, as on head")


def test_a_token_of_another_cluster_is_named(paths: StatePaths) -> None:
    said = refusal(paths, lambda: hello(instance="00"))
    assert said.startswith("its token is of another cluster")


def test_a_port_that_the_head_cannot_reach_is_named_with_its_direction(paths: StatePaths) -> None:
    closed = free_base() + 5
    said = refusal(paths, lambda: hello(ports=(closed,)))
    assert said.startswith(
        f"head cannot reach 127.0.0.1 on port {closed}; a firewall on box2 must let 127.0.0.1 in"
    )


def test_all_that_is_wrong_is_said_at_once(paths: StatePaths) -> None:
    said = refusal(paths, lambda: hello(versions=replace(OURS, ray="1"), clock=0.0, uid=4711))
    assert said.count("; expected") >= 3


# The other side


def box(paths: StatePaths, port: int, secret: str = SECRET) -> Box:
    token = TokenFile(format=FORMAT, address=f"127.0.0.1:{port}", secret=secret, instance=INSTANCE)
    return Box(
        paths=paths, token=token, head="127.0.0.1", port=port, name="box2", node_id="77",
        address="127.0.0.1", cpu_slots=1,
    )  # fmt: skip


def trouble(paths: StatePaths, made: Box) -> GpujobsError:
    """Of joining, before anything is started."""

    async def join() -> None:
        await Joiner(made)._join_once()

    with pytest.raises(GpujobsError) as caught:
        asyncio.run(join())
    assert not list(paths.root.glob("ray*")) and not (paths.run / "ray.log").exists()
    return caught.value


def while_open(
    paths: StatePaths, work: Callable[[JoinGate], Coroutine[Any, Any, None]], **options: Any
) -> GpujobsError:
    async def run() -> None:
        async with gate(paths, **options) as made:
            await work(made)

    with pytest.raises(GpujobsError) as caught:
        asyncio.run(run())
    return caught.value


def test_a_wrong_token_is_refused_by_both(paths: StatePaths) -> None:
    async def join(made: JoinGate) -> None:
        await Joiner(box(paths, made._ports.base, "00" * 32))._join_once()

    # The port of Ray's GCS and the rest are not looked at: nothing is told to somebody without the token.
    error = while_open(paths, join)
    assert isinstance(error, NotPermittedError)
    assert str(error).startswith("the token is not this cluster's")


def test_a_head_that_does_not_answer_is_named_with_what_is_expected_there(paths: StatePaths) -> None:
    base = free_base()
    said = str(trouble(paths, box(paths, base)))
    assert said.startswith(f"127.0.0.1:{base} cannot be reached from here: Connection refused; ")
    assert "[cluster] listen" in said


def test_something_else_on_the_port_is_no_head(paths: StatePaths) -> None:
    async def join() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.org ESMTP\r\n")
            await reader.readline()
            writer.close()

        base = free_base()
        async with await asyncio.start_server(answer, "127.0.0.1", base):
            await Joiner(box(paths, base))._join_once()

    with pytest.raises(MachineError, match="what answers there is no head of gpujobs"):
        asyncio.run(join())


def test_ports_of_ray_that_are_closed_on_the_head_are_named(paths: StatePaths) -> None:
    """The gate answers, and Ray does not, as behind a firewall that lets one port through."""

    async def join(made: JoinGate) -> None:
        await Joiner(box(paths, made._ports.base))._join_once()

    ports = []
    error = while_open(paths, lambda made: (ports.append(made._ports), join(made))[1])
    assert str(error).startswith("this box cannot reach head (127.0.0.1) on ports ")
    assert f"{ports[0]['gcs']}, {ports[0]['raylet']}, {ports[0]['object_manager']};" in str(error)


def test_a_port_that_is_in_use_on_the_node_is_named(paths: StatePaths) -> None:
    async def join(made: JoinGate) -> None:
        with closing(socket.create_server(("127.0.0.1", made._ports["raylet"]))):
            await Joiner(box(paths, made._ports.base))._join_once()

    said = str(while_open(paths, join))
    who = f"is taken by process {os.getpid()} ({psutil.Process().name()}, of {psutil.Process().username()}); end what"
    assert re.match(rf"port \d+ of this box, for Ray's raylet, {re.escape(who)}", said), said


# What happens to a box that has joined


async def _joined(made: JoinGate) -> Sealed:
    """As a box says it, until the head has placed its agent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made._ports["joining"])
    line = Sealed(reader, writer, SECRET, is_head=False)
    await line.greet()
    await line.say(hello())
    await line.expect(Welcome)
    await line.say(Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0))
    while not isinstance(await line.hear(), Joined):
        pass
    return line


def test_a_box_whose_agent_is_lost_gets_another_or_is_told_to_start_its_ray_anew(paths: StatePaths) -> None:
    async def run() -> tuple[int, str]:
        agents: list[asyncio.Event] = []

        async def admit(hello: Hello, ready: Ready) -> asyncio.Event:
            if len(agents) == 2:
                raise MachineError("Ray has given it up")
            agents.append(asyncio.Event())
            return agents[-1]

        async with gate(paths, admit=admit) as made:
            line = await _joined(made)
            agents[0].set()
            while not isinstance(await line.hear(), Joined):
                pass
            agents[1].set()
            with pytest.raises(RefusedError) as caught:
                await beat(line)
            line.close()
            assert caught.value.again
            return len(agents), str(caught.value)

    placed, said = asyncio.run(asyncio.wait_for(run(), 10))
    assert (placed, said) == (2, "the agent cannot be placed on box2: Ray has given it up")


@asynccontextmanager
async def _running(paths: StatePaths, made: JoinGate, command: Sequence[str]) -> AsyncIterator[Joiner]:
    """A box on which Ray runs already, as far as it knows: `command` is in its place."""
    joiner, ports = Joiner(box(paths, made._ports.base)), made._ports
    node = RayNode(
        address="127.0.0.1", ports=ports, head="127.0.0.1:1", incarnation="1", gpus=0, temp=paths.root
    )
    joiner._ray, joiner._session = RayProcesses(node, {}, paths.run / "ray.log"), made.session
    joiner._ray.process = subprocess.Popen(command)
    servers = [
        await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        for port in ports.of_the_head
    ]
    try:
        yield joiner
    finally:
        for server in servers:
            server.close()
        joiner._ray.process.kill()
        joiner._ray.process.wait()


async def _never(hello: Hello, ready: Ready) -> asyncio.Event:
    await asyncio.sleep(3600)
    raise AssertionError


def test_rays_end_is_seen_while_the_head_has_not_placed_the_agent_yet(paths: StatePaths) -> None:
    async def join(made: JoinGate) -> None:
        async with _running(paths, made, ["sleep", "0.3"]) as joiner:
            await asyncio.wait_for(joiner._join_once(), 15)

    assert str(while_open(paths, join, admit=_never)).startswith("Ray has ended here")


def test_a_link_that_is_cut_while_the_head_places_the_agent_is_noticed(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head's box is silent, as one whose cable is pulled: its process is not scheduled any more."""
    monkeypatch.setattr("gpujobs.cluster.gate.SILENCE_SECONDS", 1.0)

    async def forgets(hello: Hello, ready: Ready) -> asyncio.Event:
        monkeypatch.setattr("gpujobs.cluster.gate.BEAT_SECONDS", 3600.0)
        return await _never(hello, ready)

    async def join(made: JoinGate) -> None:
        async with _running(paths, made, ["sleep", "60"]) as joiner:
            await asyncio.wait_for(joiner._join_once(), 15)

    assert "nothing was heard for 1 s" in str(while_open(paths, join, admit=forgets))


def test_a_box_without_room_for_data_and_results_is_refused_before_anything_is_started(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said to the head, which is not there: disks come first."""
    monkeypatch.setattr("gpujobs.cluster.obstacles.FREE_BYTES", 1 << 60)
    with pytest.raises(MachineError) as caught:
        asyncio.run(Joiner(box(paths, free_base())).run())
    said = re.match(rf"{paths.root} has ([\d.]+) GiB free; ", str(caught.value))
    assert said is not None, caught.value
    assert float(said[1]) == pytest.approx(
        shutil.disk_usage(paths.root).free / 2**30, abs=5
    )  # others write meanwhile
    assert "GiB free; expected at least 1073741824 GiB for data, checkpoints and results" in str(caught.value)
    assert not (paths.run / "ray.log").exists() and not list(paths.run.glob("launcher*"))


def test_a_state_directory_is_of_one_cluster(paths: StatePaths) -> None:
    require_same_cluster(paths, INSTANCE)
    remember(box(paths, free_base()))
    require_same_cluster(paths, INSTANCE)
    with pytest.raises(UsageError, match="for another cluster"):
        require_same_cluster(paths, "other")


def test_a_roster_that_is_damaged_is_not_taken_for_an_empty_one(paths: StatePaths) -> None:
    roster.add(paths.nodes, "box2", "77")
    assert list(roster.known(paths.nodes)) == ["box2"]
    durable.write(paths.nodes, b"{")
    with pytest.raises(MachineError, match="it is not known which boxes belong"):
        roster.known(paths.nodes)


# The seals


async def _pair(secret: str) -> tuple[Sealed, Sealed, Any]:
    ends: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server = await asyncio.start_server(lambda r, w: ends.set_result((r, w)), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    node = Sealed(reader, writer, secret, is_head=False)
    head = Sealed(*await ends, SECRET, is_head=True)
    await asyncio.gather(node.greet(), head.greet())
    return node, head, server


def test_a_line_that_is_said_again_is_refused() -> None:
    async def run() -> None:
        node, head, server = await _pair(SECRET)
        async with server:
            await node.say(hello())
            assert (await head.hear()).tag == "hello"
            node._said = 0
            await node.say(hello())
            with pytest.raises(NotPermittedError):
                await head.hear()
            node.close()
            head.close()

    asyncio.run(run())


def test_a_line_of_ours_that_is_sent_back_to_us_is_refused() -> None:
    async def run() -> None:
        node, head, server = await _pair(SECRET)
        async with server:
            head._own = "node"
            await head.say(hello())
            with pytest.raises(NotPermittedError):
                await node.hear()
            node.close()
            head.close()

    asyncio.run(run())
