"""How much memory jobs of a family need, with a real store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.devices.memory_monitor import MOST_RUNTIME_BYTES, RUNTIME_BYTES, MemoryMonitor
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.writer import StoreWriter
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, Process, iso, utc_now
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, B, having, new_job

GPU = Device("n", DeviceKind.GPU, 0, "GPU-0", "fake")
CONTEXT, WHOLE = 300 << 20, 8 << 30
"""What a trainer has taken at its start, and in the end."""


class Box:
    """One GPU with one job of family f on it."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory / "s.db")
        self.cache = JobCache([])
        self.memory = MemoryMonitor(
            self.cache, self.store.usage, StoreWriter(self.store, self.cache), settle_seconds=60.0
        )

    def start(self, ran: timedelta = timedelta(0)) -> Job:
        (job,) = self.store.submit(A, f"key-{utc_now()}", [having(new_job(), family="f")])
        self.store.start_attempt(job.id, GPU)
        job = self.store.mark_running(job.id, 1, 100, utc_now())
        assert job.current is not None
        job = replace(job, current=replace(job.current, started_at=utc_now() - ran))
        self.cache.put(job)
        return job

    def look(self, used: int) -> None:
        device = replace(GPU, processes=(Process(100, "a", used, "gpujobs trainer: job 1"),))
        self.memory.observe([Node("n", NodeStatus.OK, "", (device,))])

    def end(self, job: Job, code: int) -> None:
        record: dict[str, Any] = {"exit": {"code": code, "signal": None}, "ended_at": iso(utc_now())}
        ended = self.store.mark_completing(job.id, 1, record)
        self.memory.ended(ended)
        self.cache.put(ended)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.store.close()


def test_a_job_that_has_just_begun_does_not_say_what_its_family_needs(box: Box) -> None:
    """Else the next one would get a device on which the first is still to grow."""
    job = box.start()
    box.look(CONTEXT)
    assert box.memory.current == {job.id: CONTEXT}
    assert box.memory.peaks == {}
    box.end(job, code=1)
    assert box.memory.peaks == box.store.usage.peaks() == {}


def test_one_that_has_settled_or_ended_well_does(box: Box) -> None:
    box.start(ran=timedelta(seconds=61))
    box.look(WHOLE)
    assert box.memory.peaks == {"f": WHOLE}
    job = box.start()
    box.look(2 * WHOLE)
    assert box.memory.peaks == {"f": 2 * WHOLE}, "what is known to be too little is raised at once"
    box.end(job, code=0)
    assert box.store.usage.peaks() == {"f": 2 * WHOLE}


def test_one_whose_trainer_had_another_before_teaches_nothing(box: Box) -> None:
    """What the driver counts is what both have taken."""
    box.memory.has_taken_over = lambda _: True
    job = box.start(ran=timedelta(seconds=61))
    box.cache.set_progress(job.id, {"epoch": 1, "device_peak_bytes": 64 << 20})
    box.look(WHOLE)
    assert box.memory.current == {job.id: WHOLE}
    box.end(job, code=0)
    assert box.memory.peaks == box.store.usage.peaks() == {}
    assert box.memory.runtime_bytes(A.uid) == RUNTIME_BYTES


def test_what_cuda_takes_beside_the_tensors_is_measured_at_the_first_job(box: Box) -> None:
    """866 MiB by the driver, of which the allocator says that 64 are its own."""
    assert box.memory.runtime_bytes(A.uid) == RUNTIME_BYTES == 1 << 30, "nothing was seen yet"
    job = box.start()
    box.look(866 << 20)
    assert box.memory.runtime_bytes(A.uid) == RUNTIME_BYTES, "the trainer has not told what its tensors take"
    box.cache.set_progress(job.id, {"epoch": 1, "device_peak_bytes": 64 << 20})
    box.look(866 << 20)
    assert box.memory.runtime_bytes(A.uid) == 802 << 20
    box.look(700 << 20)
    assert box.memory.runtime_bytes(A.uid) == 802 << 20, "the most that was seen"


@pytest.mark.parametrize("told", ["much", None, -1, 0, 1 << 50])
def test_a_trainers_word_that_cannot_be_so_is_not_believed(box: Box, told: Any) -> None:
    job = box.start()
    box.cache.set_progress(job.id, {"device_peak_bytes": told})
    box.look(866 << 20)
    assert box.memory.runtime_bytes(A.uid) == RUNTIME_BYTES


def test_nor_one_that_would_keep_the_devices_from_others(box: Box) -> None:
    job = box.start()
    box.cache.set_progress(job.id, {"device_peak_bytes": 1})
    box.look(70 << 30)
    assert box.memory.runtime_bytes(A.uid) == MOST_RUNTIME_BYTES


def test_what_a_trainer_says_of_itself_counts_for_its_own_user_alone(box: Box) -> None:
    """A crafted one could say that others need gigabytes more, or next to nothing."""
    job = box.start()
    box.cache.set_progress(job.id, {"device_peak_bytes": 64 << 20})
    box.look(866 << 20)
    assert box.memory.with_runtime({"f": 64 << 20}, A.uid) == {"f": 866 << 20}
    assert box.memory.with_runtime({"f": 64 << 20}, B.uid) == {"f": (64 << 20) + RUNTIME_BYTES}
