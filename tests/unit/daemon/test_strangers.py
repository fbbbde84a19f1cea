"""Other people's processes on devices that jobs use, with a real store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gpujobs.daemon.devices.foreign_monitor import MEETING, ForeignProcessMonitor
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, Process, StopReason, utc_now
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, new_job

GPU = Device("n", DeviceKind.GPU, 2, "GPU-2", "fake")
TRAINER = Process(100, "a", 1, "gpujobs trainer: job 1")
STRANGER = Process(4711, "bob", 1, "python x.py")


class Box:
    """One GPU with one job of ours; `stops` is what was asked of the attempts."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory / "s.db")
        self.board = JobCache([])
        self.stops: list[tuple[int, StopReason, str]] = []
        self.strangers = ForeignProcessMonitor(self.store, self.board, self._stop)

    def _stop(self, job: Job, reason: StopReason, message: str) -> None:
        self.stops.append((job.id, reason, message))

    def start(self, *, running_for: timedelta | None, pid: int = TRAINER.pid) -> Job:
        (job,) = self.store.submit(A, f"key-{pid}", [new_job()])
        job = self.store.start_attempt(job.id, GPU)
        if running_for is not None:
            job = self.store.mark_running(job.id, 1, pid, utc_now() - running_for)
        self.board.put(job)
        return job

    def look(self, *processes: Process) -> None:
        self.strangers.look([Node("n", NodeStatus.OK, "", (replace(GPU, processes=processes),))])

    def told(self, job: Job) -> list[str]:
        return [event.message for event in self.store.events(job.id) if event.kind == "stranger"]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.store.close()


def test_an_attempt_that_meets_a_stranger_as_it_begins_goes_back(box: Box) -> None:
    job = box.start(running_for=timedelta(0))
    box.look(TRAINER, STRANGER)
    box.look(TRAINER, STRANGER)
    assert box.stops == [(job.id, StopReason.STRANGER, "it met pid 4711 of bob on GPU 2")]
    assert StopReason.STRANGER.requeues


def test_where_jobs_start_beside_strangers_none_goes_back_for_one(box: Box) -> None:
    """Else it would be started beside the same one again, for ever."""
    box.strangers = ForeignProcessMonitor(box.store, box.board, box._stop, are_welcome=True)
    job = box.start(running_for=timedelta(0))
    box.look(TRAINER, STRANGER)
    assert (box.stops, box.told(job)) == ([], ["pid 4711 of bob on GPU 2"])


def test_a_later_stranger_is_reported_once_to_both_and_nobody_is_ended(box: Box) -> None:
    job = box.start(running_for=2 * MEETING)
    for _ in range(3):
        box.look(TRAINER, STRANGER)
    assert box.stops == []
    assert box.told(job) == ["pid 4711 of bob on GPU 2"]
    assert box.board.json(job, A)["notice"] == "pid 4711 of bob on GPU 2"
    (event,) = box.store.devices.events(GPU.uuid)
    assert (event.kind, event.message) == ("stranger", f"pid 4711 of bob on GPU 2, as job {job.id} is")
    (said,) = box.strangers.notices("bob")
    assert said.startswith(f"your process 4711 is on GPU 2, which job {job.id} of a uses")
    box.look(TRAINER)
    assert box.board.json(job, A)["notice"] is None
    assert box.strangers.notices("bob") == []


def test_a_trainer_that_has_not_spoken_yet_is_not_taken_for_a_stranger(box: Box) -> None:
    job = box.start(running_for=None)
    box.look(TRAINER)
    assert (box.stops, box.told(job)) == ([], [])


def test_a_process_of_another_pid_namespace_may_be_our_own_trainer(box: Box) -> None:
    job = box.start(running_for=timedelta(0))
    box.look(Process(31337, None, 1, None))
    assert (box.stops, box.told(job)) == ([], [])


def test_a_trainer_that_has_just_ended_is_no_stranger_to_the_next_job(box: Box) -> None:
    """The reading is older than its end; where it is still there at the next look, it is reported."""
    first = box.start(running_for=timedelta(0))
    box.look(TRAINER)
    box.board.put(box.store.mark_completing(first.id, 1, {}))
    second = box.start(running_for=timedelta(0), pid=101)
    box.look(TRAINER, replace(TRAINER, pid=101))
    assert (box.stops, box.told(second)) == ([], [])
    box.look(TRAINER, replace(TRAINER, pid=101))
    assert box.told(second) == ["pid 100 of a on GPU 2"]


def test_a_job_that_is_being_cancelled_is_not_requeued(box: Box) -> None:
    job = box.start(running_for=timedelta(0))
    box.board.put(box.store.request_cancel(job.id, "a", "cancelled by a"))
    box.look(TRAINER, STRANGER)
    assert box.stops == []
