"""Pieces between boxes, by the agents' own code without Ray in between: what is cut off goes on, what changes on its
way is noticed, and what goes to several boxes leaves the daemon's once."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpujobs.cluster import delivering, homecoming
from gpujobs.cluster.actor import AgentActor
from gpujobs.errors import MachineError
from gpujobs.node import attempts
from gpujobs.node.agent import NodeAgent
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.boxes import Blob, BringHome, Deliver, Leavings, Survey
from gpujobs.protocol.records import AttemptKey
from tests.specs import attempt_spec, node_settings

KEY = AttemptKey(7, 1, "3f")
WEIGHTS = os.urandom(1000)
CHECKPOINT = "work/checkpoint/checkpoint.npz"


class Remote:
    """An agent on another box. `calls` counts them, `before` may fail one."""

    def __init__(self, root: Path) -> None:
        settings = replace(node_settings(root, name=root.name, state_id="3f"), instance="9a")
        self.paths = StatePaths(root)
        (self.paths.spool / "data").mkdir(parents=True)
        self._actor = AgentActor(codec.write(settings))
        self._actor._agent = NodeAgent(settings)
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str, int], None] = lambda name, count: None

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            given = [await one if asyncio.isfuture(one) else one for one in arguments]
            self.calls[name] += 1
            self.before(name, self.calls[name])
            return await getattr(self._actor, name)(*given)

        return SimpleNamespace(remote=lambda *arguments: asyncio.ensure_future(call(*arguments)))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "PIECE_BYTES", 100)
    monkeypatch.setattr(homecoming, "PIECE_BYTES", 100)
    monkeypatch.setattr(delivering, "NEIGHBOUR_SECONDS", 0.5)


def trained(node: Remote) -> Path:
    """An attempt that has left something there."""
    job = node.paths.job(KEY.job)
    attempt = attempts.make(job, attempt_spec(job=7, attempt=1, nonce="3f", job_dir=job.root))
    job.checkpoint.mkdir()
    (node.paths.job(7).root / CHECKPOINT).write_bytes(WEIGHTS)
    attempt.log.write_text("Epoch 1/2\n")
    return node.paths.job(7).root / CHECKPOINT


def asked(destination: Path) -> BringHome:
    destination.mkdir(exist_ok=True)
    return BringHome(Survey(KEY, 1 << 20, Leavings.ALL), str(destination))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_was_cut_off_on_its_way_home_goes_on(tmp_path: Path) -> None:
    node = Remote(tmp_path / "box2")
    trained(node)

    def cut(name: str, count: int) -> None:
        if name == "take" and count == 5:
            raise RuntimeError("the cable is pulled")

    async def both() -> Mapping[str, str]:
        node.before = cut
        with pytest.raises(RuntimeError):
            await homecoming.bring_home(node, asked(tmp_path / "home"), homecoming.Places())
        assert not (tmp_path / "home" / sha(WEIGHTS)).exists(), "no name before it is whole"
        node.before = lambda name, count: None
        taken = node.calls["take"]
        found = await homecoming.bring_home(node, asked(tmp_path / "home"), homecoming.Places())
        assert node.calls["take"] - taken < 10, "some of its ten pieces were here"
        return {file.name: file.sha256 for file in found.files}

    found = asyncio.run(both())
    assert found == {CHECKPOINT: sha(WEIGHTS), "attempt-1/log.txt": sha(b"Epoch 1/2\n")}
    assert (tmp_path / "home" / sha(WEIGHTS)).read_bytes() == WEIGHTS
    assert (tmp_path / "home" / sha(WEIGHTS)).stat().st_mode & 0o777 == 0o600


class SlowLink(Remote):
    """Over which one piece comes after the other. `taken`: whose, in that order; `most`: how many were ever asked for
    at once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.taken: list[int] = []
        self.on_the_way = self.most = 0
        self._link = asyncio.Lock()

    @property
    def take(self) -> Any:
        async def piece(asked: Any) -> Any:
            self.on_the_way += 1
            self.most = max(self.most, self.on_the_way)
            async with self._link:
                found = await self._actor.take(asked)
            self.on_the_way -= 1
            self.taken.append(asked["attempt"]["job"])
            return found

        return SimpleNamespace(remote=lambda asked: asyncio.ensure_future(piece(asked)))


def test_a_large_file_does_not_hold_up_the_small_ones_beside_it_and_they_take_turns(tmp_path: Path) -> None:
    """By the order in which pieces come: between two of a small one there are about as many of others as there are
    jobs, eight, and what was on its way."""

    async def all_of_them() -> SlowLink:
        node = SlowLink(tmp_path / "box2")
        places = homecoming.Places()
        sizes = {1: 40_000, 2: 40_000, **dict.fromkeys(range(3, 9), 1_000)}
        for number, size in sizes.items():
            job = node.paths.job(number)
            attempts.make(job, attempt_spec(job=number, attempt=1, nonce="3f", job_dir=job.root))
            job.checkpoint.mkdir()
            (job.root / CHECKPOINT).write_bytes(os.urandom(size))
        coming = [asyncio.create_task(home(node, number, places)) for number in (1, 2)]
        while len(node.taken) < 20:
            await asyncio.sleep(0)
        await asyncio.gather(*coming, *(home(node, number, places) for number in range(3, 9)))
        return node

    async def home(node: SlowLink, number: int, places: homecoming.Places) -> None:
        target = tmp_path / f"home{number}"
        target.mkdir()
        survey = Survey(AttemptKey(number, 1, "3f"), 1 << 20, Leavings.CHECKPOINT)
        (file,) = (await homecoming.bring_home(node, BringHome(survey, str(target)), places)).files
        assert sha((target / file.sha256).read_bytes()) == file.sha256

    node = asyncio.run(all_of_them())
    assert node.most <= homecoming.PLACES
    for number in range(3, 9):
        places = [place for place, job in enumerate(node.taken) if job == number]
        gaps = [later - earlier for earlier, later in itertools.pairwise(places)]
        assert len(places) == 10 and max(gaps) <= 2 * 8 + homecoming.PLACES, gaps
    assert node.taken.count(1) == node.taken.count(2) == 400
    last = len(node.taken) - 1 - [job > 2 for job in node.taken][::-1].index(True)
    assert last < 200, "the small ones are home long before the large ones"


def test_a_large_survey_leaves_threads_for_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty large ones, each of which would read for ever: the small one is answered."""
    node, is_over = Remote(tmp_path / "box2"), threading.Event()
    agent = node._actor._agent
    assert agent is not None
    monkeypatch.setattr("gpujobs.node.left.LARGE_BYTES", 500)
    survey = agent._left._survey

    def read(asked: Survey) -> Any:
        if asked.attempt.job > 1:
            assert is_over.wait(20)
        return survey(asked)

    monkeypatch.setattr(agent._left, "_survey", read)
    for number in range(1, 22):
        job = node.paths.job(number)
        attempts.make(job, attempt_spec(job=number, attempt=1, nonce="3f", job_dir=job.root))
        job.checkpoint.mkdir()
        (job.root / CHECKPOINT).write_bytes(os.urandom(10 if number == 1 else 1000))

    def of(number: int) -> Survey:
        return Survey(AttemptKey(number, 1, "3f"), 1 << 20, Leavings.CHECKPOINT)

    async def ask() -> None:
        large = [asyncio.create_task(agent.carry_out(of(number))) for number in range(2, 22)]
        found = await asyncio.wait_for(agent.carry_out(of(1)), 15)
        assert [file.bytes for file in found.files] == [10]  # type: ignore[attr-defined]
        is_over.set()
        await asyncio.gather(*large)

    asyncio.run(ask())


def test_a_checkpoint_that_is_replaced_on_its_way_does_not_come_and_the_next_does(tmp_path: Path) -> None:
    node = Remote(tmp_path / "box2")
    place, newer = trained(node), os.urandom(1000)

    def train_on(name: str, count: int) -> None:
        if name == "take" and count == 4:
            place.with_name("new").write_bytes(newer)
            place.with_name("new").replace(place)

    async def both() -> None:
        node.before = train_on
        with pytest.raises(MachineError, match="has changed on its way"):
            await homecoming.bring_home(node, asked(tmp_path / "home"), homecoming.Places())
        assert [path.name for path in (tmp_path / "home").iterdir()] == []
        await homecoming.bring_home(node, asked(tmp_path / "home"), homecoming.Places())

    asyncio.run(both())
    assert (tmp_path / "home" / sha(newer)).read_bytes() == newer


def deliver(nodes: list[Remote], tmp_path: Path) -> Blob:
    (tmp_path / "data").write_bytes(WEIGHTS)
    blob = Blob(os.geteuid(), sha(WEIGHTS), len(WEIGHTS))
    deliveries = delivering.Deliveries()

    async def all_at_once() -> None:
        wanted = Deliver(blob, str(tmp_path), "data", os.geteuid())
        await asyncio.gather(*(deliveries.deliver(node, wanted) for node in nodes))

    asyncio.run(all_at_once())
    assert all(node.paths.data(blob.uid, blob.sha256).read_bytes() == WEIGHTS for node in nodes)
    return blob


def test_what_goes_to_three_boxes_leaves_the_daemons_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: Counter[str] = Counter()
    monkeypatch.setattr(delivering, "reach", lambda name: reached.update([name]))
    nodes = [Remote(tmp_path / f"box{number}") for number in (2, 3, 4)]
    deliver(nodes, tmp_path)
    assert reached["deliver.piece"] == 10, "ten pieces were read here"
    assert [node.calls["pass_on"] for node in nodes] == [10, 10, 0]


def test_a_box_that_gives_nothing_keeps_nobody_from_it(tmp_path: Path) -> None:
    nodes = [Remote(tmp_path / f"box{number}") for number in (2, 3)]

    def broken(name: str, count: int) -> None:
        if name == "pass_on" and count > 3:
            raise RuntimeError("its cable is pulled")

    nodes[0].before = broken
    deliver(nodes, tmp_path)
