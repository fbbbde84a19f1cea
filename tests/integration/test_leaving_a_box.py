"""What becomes of a job that leaves another box: what it has left comes home before it may start elsewhere, and goes
there; where the box is gone it is said from where the job goes on. The box is an agent in this process."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.cluster.delivering import Deliveries, answer_of
from gpujobs.cluster.homecoming import Places, bring_home
from gpujobs.daemon.build import Parts
from gpujobs.daemon.jobs import homecoming
from gpujobs.daemon.jobs.supply import MODEL
from gpujobs.daemon.keeping.removal import Kind, Left, Rules
from gpujobs.errors import MachineError
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Device, DeviceKind, Job, NodeStatus, Reason, State, utc_now
from gpujobs.node import arrivals, attempts, seeding
from gpujobs.paths import JobPaths
from gpujobs.protocol.boxes import Blob, BringHome, Brought, Deliver, Leavings
from gpujobs.protocol.instructions import ReadLog, written
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.protocol.telling import Instruction
from tests.integration.node import new_daemon, settled
from tests.integration.test_pieces_between_boxes import Remote, sha
from tests.specs import attempt_spec
from tests.unit.store.jobs import new_job

OWN = Caller(uid=os.geteuid(), gid=os.getegid(), pid=1, user="somebody")
WEIGHTS = b"weights"


@dataclass
class Boxes:
    """A daemon, `box2`, which `is_away` cuts off, and `box3`."""

    daemon: Parts
    box2: Remote
    box3: Remote
    is_away: bool = False
    before: Callable[[BringHome], Awaitable[None]] = field(default=lambda _: asyncio.sleep(0))
    places: Places = field(default_factory=Places)

    def __post_init__(self) -> None:
        self._here = self.daemon.link.call
        self._deliveries = Deliveries()
        for name in ("box2", "box3"):
            self.daemon.nodes.report(name, NodeStatus.OK, "")

    async def call(self, node: str, asked: Instruction[Any]) -> Any:
        if node not in ("box2", "box3") or self.daemon.link._is_at_home(asked):
            return await self._here(self.daemon.node_name, asked)
        box = self.box2 if node == "box2" else self.box3
        if self.is_away and box is self.box2:
            raise MachineError("box2 is no member of the cluster at present")
        if isinstance(asked, BringHome):
            await self.before(asked)
            return await bring_home(box, asked, self.places)
        if isinstance(asked, Deliver):
            return await self._deliveries.deliver(box, asked)
        return asked.read(answer_of(await box._actor.carry_out(written(asked))))

    def job_there(self, retries: int = 0) -> Job:
        """A job that has trained on box2."""
        new = replace(new_job(), resolved={"model": {}, "training": {}}, retries=retries, data=())
        (job,) = self.daemon.store.submit(OWN, f"key-{time.monotonic_ns()}", [new])
        job = self.daemon.store.start_attempt(job.id, Device("box2", DeviceKind.CPU, 0, "CPU-b-0", "cpu"))
        assert job.current is not None
        there = self.box2.paths.job(job.id)
        spec = attempt_spec(job=job.id, attempt=job.attempt, nonce=job.current.nonce, job_dir=there.root)
        attempts.make(there, spec)
        for path, content in (
            (there.checkpoint / "checkpoint.npz", WEIGHTS),
            (there.results / "history.csv", b"epoch,loss\n"),
            (there.attempt(job.attempt).log, b"Epoch 1/9\n"),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        job = self.daemon.store.mark_running(job.id, job.attempt, 99, utc_now())
        self.daemon.cache.put(job)
        return job

    def end(self, job: Job, **record: Any) -> None:
        ended = {"state": "FAILED", "reason": "NaNLoss", **record}
        self.daemon.cache.put(self.daemon.store.mark_completing(job.id, job.attempt, ended))
        self.daemon.attempts.complete_now(job.id)

    def there(self, job: Job) -> JobPaths:
        return self.box2.paths.job(job.id)

    def here(self, job: Job) -> JobPaths:
        return self.daemon.paths.job(job.id)

    def told(self, job: Job) -> list[str]:
        return [event.message for event in self.daemon.store.events(job.id) if event.kind == "warning"]


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Boxes]:
    root = Path(tempfile.mkdtemp(prefix="gj-"))
    daemon = new_daemon(root / "s")
    made = Boxes(daemon, Remote(root / "box2"), Remote(root / "box3"))
    monkeypatch.setattr(daemon.link, "call", made.call)
    yield made
    daemon.store.close()
    shutil.rmtree(root)


def run(body: Callable[[], Awaitable[None]], boxes: Boxes) -> None:
    async def to_the_end() -> None:
        try:
            await body()
        finally:
            boxes.daemon.attempts.close()

    asyncio.run(to_the_end())


async def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_before_it_may_start_elsewhere_its_checkpoint_is_home(boxes: Boxes) -> None:
    job = boxes.job_there()

    async def leave() -> None:
        boxes.end(job, stopped_for="preempt")
        await settled(boxes.daemon, job.id, State.PENDING)
        assert (boxes.here(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
        assert boxes.daemon.homecoming.checkpoint_of(job.id) == 1
        assert boxes.here(job).work.stat().st_mode & 0o777 == 0o700
        assert boxes.told(job) == []

    run(leave, boxes)


def test_a_job_that_is_cancelled_while_it_comes_home_is_not_queued_again(boxes: Boxes) -> None:
    job = boxes.job_there()

    async def cancelled(_: BringHome) -> None:
        await boxes.daemon.jobs.cancel_one(job, "somebody")

    async def work() -> None:
        boxes.before = cancelled
        boxes.end(job, stopped_for="preempt")
        found = await settled(boxes.daemon, job.id, State.PENDING, State.CANCELLED)
        assert (found.state, found.message) == (State.CANCELLED, "cancelled by somebody")

    run(work, boxes)


def next_attempt(boxes: Boxes, job: Job, node: str, **fields: Any) -> tuple[AttemptSpec, Brought]:
    """What goes to `node` for it, and what it is told there."""
    device = Device(node, DeviceKind.CPU, 0, f"CPU-{node}-0", "cpu")
    started = boxes.daemon.store.start_attempt(job.id, device)
    assert started.current is not None
    box = boxes.box2 if node == "box2" else boxes.box3
    spec = attempt_spec(
        job=job.id, attempt=started.attempt, nonce=started.current.nonce,
        state_id="9a", job_dir=box.paths.job(job.id).root, **fields,
    )  # fmt: skip
    origins = boxes.daemon.specs.origins(started)
    supplied = asyncio.run(boxes.daemon.attempts._supply.bring(node, started, spec, origins))
    assert supplied.brought is not None and supplied.troubles == []
    spec = replace(supplied.spec, model_results=None)
    seeding.mark_read(box.paths, spec, supplied.brought)
    attempts.make(box.paths.job(job.id), spec)
    seeding.place(box.paths, spec, supplied.brought)
    return spec, supplied.brought


def test_it_goes_on_from_there_on_a_third_box_and_from_its_own_on_the_same(boxes: Boxes) -> None:
    moving, staying = boxes.job_there(), boxes.job_there()

    async def leave() -> None:
        for job in (moving, staying):
            boxes.end(job, stopped_for="preempt")
            await settled(boxes.daemon, job.id, State.PENDING)

    run(leave, boxes)
    next_attempt(boxes, moving, "box3")
    assert (boxes.box3.paths.job(moving.id).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
    (boxes.there(staying).checkpoint / "checkpoint.npz").write_bytes(b"its own")
    assert next_attempt(boxes, staying, "box2")[1].checkpoint is None
    assert (boxes.there(staying).checkpoint / "checkpoint.npz").read_bytes() == b"its own"


def test_a_job_that_goes_on_from_another_finds_its_checkpoint_on_any_box(boxes: Boxes) -> None:
    origin = boxes.job_there()

    async def fail() -> None:
        boxes.end(origin)
        await settled(boxes.daemon, origin.id, State.FAILED)
        await until(lambda: not boxes.there(origin).root.exists())

    run(fail, boxes)
    new = replace(new_job(), resolved={"model": {}, "training": {}}, data=(), continues=origin.id)
    (copy,) = boxes.daemon.store.submit(OWN, "copy", [new])
    next_attempt(boxes, copy, "box3")
    assert (boxes.box3.paths.job(copy.id).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS


def test_the_model_that_a_job_applies_lies_beside_it_there(boxes: Boxes) -> None:
    results = boxes.daemon.paths.root / "trained"
    results.mkdir()
    for name in MODEL:
        (results / name).write_text(name)
    (trained,) = boxes.daemon.store.submit(OWN, "trained", [replace(new_job(), data=())])
    resolved = {"model": {"job": trained.id}, "predict": []}
    (applying,) = boxes.daemon.store.submit(OWN, "applying", [replace(new_job(), resolved=resolved, data=())])
    next_attempt(boxes, applying, "box3", jobfile=resolved, model_results=str(results))
    model = boxes.box3.paths.job(applying.id).model
    assert {path.name: path.read_text() for path in model.iterdir()} == {name: name for name in MODEL}


def test_what_a_job_that_failed_has_left_is_here_and_not_there_any_more(boxes: Boxes) -> None:
    job = boxes.job_there()

    async def fail() -> None:
        boxes.end(job)
        await settled(boxes.daemon, job.id, State.FAILED)
        await until(lambda: not boxes.there(job).root.exists())
        assert (boxes.here(job).results / "history.csv").read_bytes() == b"epoch,loss\n"
        boxes.is_away = True
        log = await boxes.daemon.link.call("box2", ReadLog(job.id, 1, 0, 99))
        assert log.content == b"Epoch 1/9\n"

    run(fail, boxes)
    (left,) = [one for one in boxes.daemon.store.pruning.ended() if one.id == job.id]
    assert {one.kind for one in boxes.daemon.retention._left_of(left)} == {Kind.CHECKPOINTS, Kind.LOGS}


def test_while_its_box_may_come_back_it_is_waited_for(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    job = boxes.job_there()
    monkeypatch.setattr(boxes.daemon.homecoming, "left", lambda node: 60.0)

    async def wait() -> None:
        boxes.is_away = True
        boxes.end(job, stopped_for="preempt")
        await until(lambda: job.id in boxes.daemon.cache.troubles)
        assert boxes.daemon.store.job(job.id).state is State.COMPLETING
        boxes.is_away = False
        boxes.daemon.attempts.complete_now(job.id)
        await settled(boxes.daemon, job.id, State.PENDING)
        assert (boxes.here(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS

    run(wait, boxes)


def test_where_a_box_is_lost_it_is_said_from_where_the_job_goes_on(boxes: Boxes) -> None:
    job, other = boxes.job_there(), boxes.job_there()

    async def lose() -> None:
        await boxes.daemon.homecoming._bring_checkpoint(other)
        boxes.is_away = True
        for one in (job, other):
            boxes.end(one, stopped_for="lease")
            await settled(boxes.daemon, one.id, State.PENDING)

    run(lose, boxes)
    why = "what attempt 1 has trained on box2 has not come home (box2 is no member of the cluster at present)"
    assert boxes.told(job) == [f"{why}; it begins anew, unless it starts on box2 again"]
    then = "it goes on from the checkpoint of attempt 1, the last that has come home"
    assert boxes.told(other) == [f"{why}; {then}, unless it starts on box2 again"]
    assert (boxes.here(other).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS


def test_a_checkpoint_that_is_refused_does_not_take_the_place_of_the_last_that_came(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = boxes.job_there()

    async def leave() -> None:
        boxes.end(job, stopped_for="preempt")
        await settled(boxes.daemon, job.id, State.PENDING)
        next_attempt_of(job)
        monkeypatch.setattr(boxes.daemon.homecoming, "_room", lambda: 3)
        again = boxes.daemon.cache.jobs[job.id]
        await boxes.daemon.homecoming._bring_checkpoint(again)
        assert (boxes.here(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
        boxes.end(again, stopped_for="preempt")
        await settled(boxes.daemon, job.id, State.PENDING)

    def next_attempt_of(job: Job) -> None:
        started = boxes.daemon.store.start_attempt(
            job.id, Device("box2", DeviceKind.CPU, 0, "CPU-b-0", "cpu")
        )
        assert started.current is not None
        there, nonce = boxes.there(job), started.current.nonce
        attempts.make(there, attempt_spec(job=job.id, attempt=2, nonce=nonce, job_dir=there.root))
        boxes.daemon.cache.put(boxes.daemon.store.mark_running(job.id, 2, 99, utc_now()))

    run(leave, boxes)
    assert (boxes.here(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
    (said,) = boxes.told(job)
    assert "the checkpoint has 7 bytes; at most 3 are taken" in said
    assert "it goes on from the checkpoint of attempt 1, the last that has come home" in said


def test_what_could_not_come_does_when_the_box_is_back(boxes: Boxes) -> None:
    failed, waiting = boxes.job_there(), boxes.job_there()

    async def come_back() -> None:
        boxes.is_away = True
        boxes.end(failed)
        await settled(boxes.daemon, failed.id, State.FAILED)
        boxes.end(waiting, stopped_for="lease")
        await settled(boxes.daemon, waiting.id, State.PENDING)
        boxes.is_away = False
        await boxes.daemon.retention._others.tidy("box2")  # type: ignore[union-attr]  # it is made with one

    run(come_back, boxes)
    for job in (failed, waiting):
        assert (boxes.here(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
    assert not boxes.there(failed).root.exists()
    assert boxes.there(waiting).root.exists(), "it may go on there"


@pytest.mark.parametrize("which", [0, 1])
def test_what_cannot_come_keeps_nothing_else_from_being_tidied(boxes: Boxes, which: int) -> None:
    """Whichever of the two the directory names first."""
    both = [boxes.job_there(), boxes.job_there()]
    broken, failed = both[which], both[1 - which]

    async def come_back() -> None:
        boxes.is_away = True
        for job in (broken, failed):
            boxes.end(job)
            await settled(boxes.daemon, job.id, State.FAILED)
        boxes.is_away = False
        boxes.there(broken).attempt(1).spec.unlink()
        await boxes.daemon.retention._others.tidy("box2")  # type: ignore[union-attr]  # it is made with one

    run(come_back, boxes)
    assert boxes.there(broken).root.exists()
    assert not boxes.there(failed).root.exists()


def test_what_was_refused_stays_on_its_box_until_it_can_come(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_its_end, later, room = boxes.job_there(), boxes.job_there(), boxes.daemon.homecoming._room
    monkeypatch.setattr(boxes.daemon.homecoming, "_room", lambda: 3)

    async def fail() -> None:
        await boxes.daemon.homecoming.bring(at_its_end)
        boxes.end(at_its_end)
        await settled(boxes.daemon, at_its_end.id, State.FAILED)
        boxes.is_away = True
        boxes.end(later)
        await settled(boxes.daemon, later.id, State.FAILED)
        boxes.is_away = False
        for _ in range(2):
            await boxes.daemon.retention._others.tidy("box2")  # type: ignore[union-attr]  # it is made with one
        for job in (at_its_end, later):
            assert (boxes.there(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
        monkeypatch.setattr(boxes.daemon.homecoming, "_room", room)
        await boxes.daemon.retention._others.tidy("box2")  # type: ignore[union-attr]  # it is made with one

    run(fail, boxes)
    for job in (at_its_end, later):
        assert (boxes.here(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
        assert not boxes.there(job).root.exists()


def test_what_an_attempt_has_left_that_was_overtaken_goes_and_is_said(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    job = boxes.job_there()

    async def lose() -> None:
        boxes.is_away = True
        boxes.end(job, stopped_for="lease")
        await settled(boxes.daemon, job.id, State.PENDING)
        boxes.daemon.store.start_attempt(job.id, Device("box3", DeviceKind.CPU, 0, "CPU-c-0", "cpu"))
        boxes.end(boxes.daemon.store.mark_running(job.id, 2, 99, utc_now()))
        await settled(boxes.daemon, job.id, State.FAILED)
        boxes.is_away = False
        await boxes.daemon.retention._others.tidy("box2")  # type: ignore[union-attr]  # it is made with one

    run(lose, boxes)
    assert not boxes.there(job).root.exists()
    said = "what attempt 1 has left on box2 goes, and never came home: attempt 2 has taken its place"
    assert said in caplog.text


def test_a_box_that_has_lost_its_state_gets_the_checkpoint_that_is_home(boxes: Boxes) -> None:
    job = boxes.job_there()

    async def leave() -> None:
        boxes.end(job, stopped_for="preempt")
        await settled(boxes.daemon, job.id, State.PENDING)

    run(leave, boxes)
    shutil.rmtree(boxes.there(job).root)
    next_attempt(boxes, job, "box2")
    assert (boxes.there(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS


def test_an_error_that_nobody_has_foreseen_ends_neither_what_comes_home_nor_keeps_a_job_from_going_on(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = boxes.job_there(), boxes.job_there()
    bring = boxes.daemon.homecoming._bring

    async def fail(job: Job, wanted: Leavings) -> tuple[str, ...]:
        if job.id == broken.id:
            raise ValueError("nobody has foreseen this")
        return await bring(job, wanted)

    monkeypatch.setattr(boxes.daemon.homecoming, "_bring", fail)
    monkeypatch.setattr("gpujobs.daemon.jobs.endings.pauses", lambda *_: itertools.repeat(0.01))

    async def train() -> None:
        coming = asyncio.create_task(boxes.daemon.homecoming.run(boxes.daemon.cache.active, lambda: 0.01))
        await until(lambda: (boxes.here(sound).checkpoint / "checkpoint.npz").exists())
        coming.cancel()
        boxes.end(broken, stopped_for="preempt")
        await settled(boxes.daemon, broken.id, State.PENDING)

    run(train, boxes)
    assert f"job {broken.id}: its checkpoint has not come home" in caplog.text
    (said,) = boxes.told(broken)
    assert "nobody has foreseen this" in said


def test_what_went_before_a_box_was_cut_off_is_reported(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = boxes.job_there(), boxes.job_there()
    lefts = [Left(Kind.CHECKPOINTS, 1, None, utc_now(), 7, job.id, node="box2") for job in (first, second)]

    async def cut_after_one(node: str, asked: Instruction[Any]) -> Any:
        answer = await boxes.call(node, asked)
        boxes.is_away = True
        return answer

    monkeypatch.setattr(boxes.daemon.link, "call", cut_after_one)
    others = boxes.daemon.retention._others
    assert others is not None
    assert asyncio.run(others.remove(lefts)) == lefts[:1]
    assert [boxes.there(job).root.exists() for job in (first, second)] == [False, True]


def test_prune_covers_the_other_boxes(boxes: Boxes) -> None:
    read = {}
    for name, days in (("old", 40), ("new", 2)):
        content = name.encode()
        blob = Blob(OWN.uid, sha(content), len(content))
        arrivals.put(boxes.box2.paths, blob, 0, content)
        place = boxes.box2.paths.data(OWN.uid, blob.sha256)
        os.utime(place, (time.time() - days * 86400,) * 2)
        read[name] = place
    rules = Rules({Kind.DATA: timedelta(days=30)})

    async def prune() -> tuple[Sequence[Left], Sequence[Left]]:
        planned = await boxes.daemon.retention.plan(rules)
        assert read["old"].exists()
        return planned, await boxes.daemon.retention.prune(rules, "gpujobs")

    planned, removed = asyncio.run(prune())
    assert planned == removed
    assert [(one.node, one.kind, one.bytes) for one in removed] == [("box2", Kind.DATA, 3)]
    assert [read[name].exists() for name in ("old", "new")] == [False, True]


def test_what_a_job_needs_that_came_since_it_was_chosen_does_not_go_from_another_box(boxes: Boxes) -> None:
    ended, needed = (boxes.job_there() for _ in range(2))
    chosen = []
    for job in (ended, needed):
        boxes.daemon.cache.put(boxes.daemon.store.mark_completing(job.id, 1, {"state": "FAILED"}))
        failed = Finish(State.FAILED, Reason.NAN_LOSS, "")
        boxes.daemon.cache.put(boxes.daemon.store.finish(job.id, failed, None))
        chosen.append(Left(Kind.CHECKPOINTS, OWN.uid, None, utc_now(), 1, job=job.id, node="box2"))
    boxes.daemon.store.submit(OWN, "again", [replace(new_job(), data=(), continues=needed.id)])
    elsewhere = boxes.daemon.retention._others
    assert elsewhere is not None
    gone = asyncio.run(elsewhere.remove(chosen))
    assert [one.job for one in gone] == [ended.id]
    assert [boxes.there(job).checkpoint.exists() for job in (ended, needed)] == [False, True]


# Several at once


def test_a_checkpoint_that_takes_long_holds_up_no_other(boxes: Boxes) -> None:
    """Neither while it comes nor while it gets its place, be it that of the job that is asked for first."""
    slow, quick = boxes.job_there(), boxes.job_there()
    came: list[int] = []

    async def before(asked: BringHome) -> None:
        if asked.survey.attempt.job == slow.id:
            await asyncio.Event().wait()
        came.append(asked.survey.attempt.job)

    boxes.before = before

    async def train() -> None:
        coming = asyncio.create_task(boxes.daemon.homecoming.run(boxes.daemon.cache.active, lambda: 0.01))
        await until(lambda: came.count(quick.id) > 2)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)

    run(train, boxes)
    assert slow.id not in came
    assert (boxes.here(quick).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS


def test_what_gets_its_place_for_long_holds_up_no_other_job(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = boxes.job_there(), boxes.job_there()
    is_over, install = threading.Event(), homecoming._install

    def install_slowly(job: JobPaths, *rest: Any) -> None:
        if job.root.name == str(slow.id):
            assert is_over.wait(20)
        install(job, *rest)

    monkeypatch.setattr(homecoming, "_install", install_slowly)

    async def leave() -> None:
        boxes.end(slow, stopped_for="preempt")
        await until(lambda: boxes.daemon.homecoming._installing.of(slow.id).locked())
        boxes.end(quick, stopped_for="preempt")
        await settled(boxes.daemon, quick.id, State.PENDING)
        assert boxes.daemon.store.job(slow.id).state is State.COMPLETING
        is_over.set()
        await settled(boxes.daemon, slow.id, State.PENDING)
        assert not boxes.daemon.homecoming._installing

    run(leave, boxes)


def test_what_is_tidied_first_is_what_is_soon_done_and_a_large_one_holds_up_none(boxes: Boxes) -> None:
    large, small = boxes.job_there(), [boxes.job_there() for _ in range(12)]
    (boxes.there(large).results / "large.bin").write_bytes(bytes(10_000))
    order: list[int] = []
    is_over = asyncio.Event()

    async def before(asked: BringHome) -> None:
        order.append(asked.survey.attempt.job)
        if asked.survey.attempt.job == large.id:
            await is_over.wait()

    async def come_back() -> None:
        boxes.is_away = True
        for job in (large, *small):
            boxes.end(job)
            await settled(boxes.daemon, job.id, State.FAILED)
        boxes.is_away, boxes.before = False, before
        tidying = asyncio.create_task(boxes.daemon.retention._others.tidy("box2"))  # type: ignore[union-attr]  # it is made with one
        await until(lambda: not any(boxes.there(job).root.exists() for job in small))
        assert boxes.there(large).root.exists()
        is_over.set()
        await tidying

    run(come_back, boxes)
    assert order[-1] == large.id and not boxes.there(large).root.exists()


def test_what_was_refused_of_an_attempt_before_the_last_stays_too(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only one of its checkpoint, though the job has begun anew elsewhere since, and has failed."""
    job = boxes.job_there()
    monkeypatch.setattr(boxes.daemon.homecoming, "_room", lambda: 3)

    async def fail() -> None:
        boxes.end(job, stopped_for="preempt")
        await settled(boxes.daemon, job.id, State.PENDING)
        started = boxes.daemon.store.start_attempt(
            job.id, Device("box3", DeviceKind.CPU, 0, "CPU-c-0", "cpu")
        )
        assert started.current is not None
        there, nonce = boxes.box3.paths.job(job.id), started.current.nonce
        attempts.make(there, attempt_spec(job=job.id, attempt=2, nonce=nonce, job_dir=there.root))
        boxes.end(boxes.daemon.store.mark_running(job.id, 2, 99, utc_now()))
        await settled(boxes.daemon, job.id, State.FAILED)
        await until(lambda: not boxes.box3.paths.job(job.id).root.exists())
        await boxes.daemon.retention._others.tidy("box2")  # type: ignore[union-attr]  # it is made with one

    run(fail, boxes)
    assert (boxes.there(job).checkpoint / "checkpoint.npz").read_bytes() == WEIGHTS
