"""How much memory jobs of a family need, with a real store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, Process, iso, utc_now
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, new_job

GPU = Device("n", DeviceKind.GPU, 0, "GPU-0", "fake")
CONTEXT, WHOLE = 300 << 20, 8 << 30
"""What a trainer has taken at its start, and in the end."""


class Box:
    """One GPU with one job of family f on it."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory / "s.db")
        self.board = JobCache([])
        self.measurements = MemoryMonitor(self.board, self.store.usage, settle_seconds=60.0)

    def start(self, ran: timedelta = timedelta(0)) -> Job:
        (job,) = self.store.submit(A, f"key-{utc_now()}", [replace(new_job(), family="f")])
        self.store.start_attempt(job.id, GPU)
        job = self.store.mark_running(job.id, 1, 100, utc_now())
        assert job.current is not None
        job = replace(job, current=replace(job.current, started_at=utc_now() - ran))
        self.board.put(job)
        return job

    def look(self, used: int) -> None:
        device = replace(GPU, processes=(Process(100, "a", used, "gpujobs trainer: job 1"),))
        self.measurements.look([Node("n", NodeStatus.OK, "", (device,))])

    def end(self, job: Job, code: int) -> None:
        record: dict[str, Any] = {"exit": {"code": code, "signal": None}, "ended_at": iso(utc_now())}
        ended = self.store.mark_completing(job.id, 1, record)
        self.measurements.ended(ended)
        self.board.put(ended)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.store.close()


def test_a_job_that_has_just_begun_does_not_say_what_its_family_needs(box: Box) -> None:
    """Else the next one would get a device on which the first is still to grow."""
    job = box.start()
    box.look(CONTEXT)
    assert box.measurements.current == {job.id: CONTEXT}
    assert box.measurements.peaks == {}
    box.end(job, code=1)
    assert box.measurements.peaks == box.store.usage.peaks() == {}


def test_one_that_has_settled_or_ended_well_does(box: Box) -> None:
    box.start(ran=timedelta(seconds=61))
    box.look(WHOLE)
    assert box.measurements.peaks == {"f": WHOLE}
    job = box.start()
    box.look(2 * WHOLE)
    assert box.measurements.peaks == {"f": 2 * WHOLE}, "what is known to be too little is raised at once"
    box.end(job, code=0)
    assert box.store.usage.peaks() == {"f": 2 * WHOLE}
