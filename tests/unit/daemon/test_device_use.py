"""What running jobs make of their devices, by readings of the test's own, with a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.devices import presence_monitor, sampler
from gpujobs.daemon.devices.presence_monitor import PresenceMonitor
from gpujobs.daemon.devices.sampler import DeviceSampler
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.device_use import DeviceUses
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import StoreError
from gpujobs.failpoints import arm
from gpujobs.measured.sums import Sums
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, Process, iso, utc_now
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, having, new_job

GIB = 1 << 30
GPU = Device("n", DeviceKind.GPU, 0, "GPU-0", "fake", memory_total_bytes=80 * GIB)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Box:
    """One GPU that is read when the test says so, `step` seconds after the last time."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory / "s.db")
        self.now = 1000.0
        self.joules = 0.0
        self.begin()

    def begin(self) -> None:
        """A daemon begins, or another one after it."""
        self.cache = JobCache(self.store.unfinished())
        writer = StoreWriter(self.store, self.cache)
        self.sampler = DeviceSampler(self.cache, writer, lambda: self.now)
        self.presence = PresenceMonitor(
            self.cache,
            writer,
            self.store.first_seen(),
            lambda: self.now,
            lambda: NOON + timedelta(seconds=self.now - 1000),
        )

    def start(self, pid: int = 100, reserved: int | None = None, **demand: Any) -> Job:
        (job,) = self.store.submit(A, f"key-{utc_now()}", [having(new_job(), **demand)])
        self.store.start_attempt(job.id, GPU, reserved)
        self.cache.put(job := self.store.mark_running(job.id, 1, pid, utc_now()))
        return job

    def look(
        self, load: int | None = 50, step: float = 1.0, watts: float | None = 200.0, **used: int
    ) -> None:
        """`used`: by `p100` and the like, what processes use."""
        self.now += step
        self.joules += 1000.0 * step
        found = tuple(Process(int(name[1:]), "a", size, "x", since=0.0) for name, size in used.items())
        self.show(
            replace(
                GPU, utilization_percent=load, power_watts=watts, energy_joules=self.joules, processes=found
            )
        )

    def show(self, device: Device) -> None:
        nodes = [Node("n", NodeStatus.OK, "", (device,))]
        self.sampler.observe(nodes)
        self.presence.observe(nodes)

    def end(self, job: Job, **record: Any) -> Job:
        ended = {"exit": {"code": 0, "signal": None}, "ended_at": iso(utc_now()), **record}
        done = self.store.mark_completing(job.id, 1, ended)
        self.cache.put(done)
        self.sampler.ended(done)
        return self.store.job(job.id)

    def sums(self, job: Job) -> Sums:
        (attempt,) = self.store.attempts(job.id)
        found = self.sampler.of(attempt)
        assert found is not None
        return found


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    arm("")
    box.store.close()


def test_the_samples_of_a_job_are_those_of_its_device_and_its_process(box: Box) -> None:
    job = box.start()
    for load, used in ((0, 1), (20, 5), (40, 3)):
        box.look(load, 2.0, p100=used * GIB, p7=40 * GIB)
    done = box.end(job)
    assert done.current is not None and done.current.device_use is not None
    sums = box.sums(done)
    assert sums.load == pytest.approx(0.3), "the first reading is of the time before"
    assert (sums.memory_peak_bytes, sums.energy_joules, sums.seconds) == (5 * GIB, 4000.0, 4.0)
    assert sums.others_seconds == 4.0, "pid 7 is a stranger"


def test_packed_jobs_have_their_own_memory_the_devices_load_and_a_part_of_its_energy(box: Box) -> None:
    one, two = box.start(100, 8 * GIB), box.start(200, 8 * GIB)
    for _ in range(5):
        box.look(80, p100=GIB, p200=3 * GIB)
    first, second = box.sums(box.end(one)), box.sums(box.end(two))
    assert (first.memory_peak_bytes, second.memory_peak_bytes) == (GIB, 3 * GIB)
    assert first.load == second.load == pytest.approx(0.8) and first.others_seconds == 4.0
    assert (first.energy_joules or 0) + (second.energy_joules or 0) == pytest.approx(4000.0)


def test_another_daemon_goes_on_with_what_the_first_has_saved(box: Box) -> None:
    job = box.start()
    for _ in range(int(sampler.SAVE_SECONDS) + 2):
        box.look(100, p100=GIB)
    before = box.sums(job)
    box.begin()  # the first was killed: nothing more was written
    assert box.sums(job).seconds == pytest.approx(before.seconds, abs=2)
    for _ in range(20):
        box.look(0, p100=GIB)
    sums = box.sums(box.end(job))
    assert sums.seconds == pytest.approx(before.seconds + 19, abs=2) and sums.busy_seconds < sums.seconds
    assert sums.energy_joules == box.joules - 1000.0, "the device itself has gone on counting"


def test_one_that_ends_properly_loses_nothing_but_the_time_until_the_next(box: Box) -> None:
    job = box.start()
    box.look(), box.look()
    box.sampler.save()
    seconds = box.sums(job).seconds
    box.begin()
    box.look(step=5.0)
    assert box.sums(job).seconds == seconds == 1.0


def test_an_end_that_cannot_be_written_is_written_the_next_time(box: Box) -> None:
    job = box.start()
    box.look(), box.look()
    done = box.store.mark_completing(job.id, 1, {"exit": {"code": 0, "signal": None}})
    box.cache.put(done)
    arm("store.commit=error:ENOSPC*1")
    with pytest.raises((StoreError, OSError)):
        box.sampler.ended(done)
    box.sampler.ended(done)
    (attempt,) = box.store.attempts(job.id)
    assert attempt.device_use is not None and attempt.device_use["samples"] == 2


def test_a_lost_device_an_instance_and_a_cpu_slot_tell_what_they_have(box: Box) -> None:
    job = box.start()
    box.look(), box.look()
    box.show(replace(GPU, fault="lost"))
    assert box.sums(job).samples == 2
    instance = replace(GPU, uuid="MIG-1", utilization_percent=None, power_watts=300.0, energy_joules=5.0)
    found = sampler.sample_of(instance, job, 1, strangers=False)
    assert (found.power_watts, found.energy_joules) == (None, None), "they are the whole GPU's"


def test_figures_are_of_the_samples_the_kernel_the_file_and_the_trainers_word(box: Box) -> None:
    job = box.start(100, 8 * GIB, gpu_memory=8 * GIB)
    box.store._connection.execute(
        "UPDATE attempts SET started_at = ?", (iso(utc_now() - timedelta(seconds=60)),)
    )
    for _ in range(61):
        box.look(20, p100=GIB)
    host = {"peak_memory_bytes": 3 * GIB, "cpu_seconds": 30.0, "cpu_threads": 2}
    done = box.end(job, host=host, progress={"epoch": 3, "data_share": 0.07, "train_samples": 1000})
    uses = DeviceUses(box.store, box.cache, box.sampler.of)
    assert done.current is not None
    found = uses.of(done, done.current, {"training": {"batch_size": 16}})
    assert found["load"] == 0.2 and found["idle"] == 0.8 and found["energy_by"] == "counter"
    assert (found["memory_peak_bytes"], found["memory_reserved_bytes"]) == (GIB, 8 * GIB)
    assert found["host_memory_peak_bytes"] == 3 * GIB and found["cpu_share"] == pytest.approx(0.25, abs=0.01)
    assert found["data_share"] == 0.07
    assert "the batches of 16 are small for it: training.batch_size: 64 " in found["advice"]
    assert json.loads(json.dumps(found)) == found


def test_strangers_are_counted_for_as_long_as_they_are_seen_by_the_hour(box: Box) -> None:
    for _ in range(3):
        box.look(p7=GIB)
    box.look(step=3600.0, p7=GIB)  # nobody looked for an hour
    box.look(step=10.0, p7=GIB)
    box.look(step=10.0)  # it has gone
    box.presence.save()
    assert box.store.strangers(NOON - timedelta(days=1), NOON + timedelta(days=1)) == [
        ("GPU-0", NOON, 2.0),
        ("GPU-0", NOON + timedelta(hours=1), 10.0),
    ]
    box.look(p7=GIB), box.look(p7=GIB)
    box.presence.save()
    assert box.store.strangers(NOON, NOON + timedelta(days=1))[1][2] == 11.0


def test_our_own_trainers_are_no_strangers_as_they_start_run_and_go(box: Box) -> None:
    job = box.start()
    for _ in range(3):
        box.look(p100=GIB)
    box.end(job)
    box.look(p100=GIB), box.look()  # it is still in one reading
    (waiting,) = box.store.submit(A, "k", [new_job()])
    box.store.start_attempt(waiting.id, GPU)
    box.cache.put(box.store.job(waiting.id))
    box.look(p300=GIB), box.look(p300=GIB)  # nobody knows yet whose it is
    box.presence.save()
    assert box.store.strangers(NOON - timedelta(days=1), NOON + timedelta(days=1)) == []


def test_memory_that_no_visible_process_uses_is_a_strangers(box: Box) -> None:
    hidden = replace(GPU, memory_used_bytes=20 * GIB)
    for _ in range(3):
        box.now += 1
        box.show(hidden)
    box.presence.save()
    assert [one[2] for one in box.store.strangers(NOON, NOON + timedelta(days=1))] == [2.0]


def test_strangers_time_does_not_grow_without_a_bound(box: Box) -> None:
    presence = box.store.presence
    presence.add_strangers({("GPU-0", NOON): 5.0})
    presence.add_strangers({("GPU-0", NOON + timedelta(days=801)): 5.0})
    assert len(box.store.strangers(NOON, NOON + timedelta(days=900))) == 1


def test_a_device_is_known_since_it_was_first_seen_also_by_later_daemons(box: Box) -> None:
    box.look()
    since = box.store.first_seen()
    assert since == {"GPU-0": NOON + timedelta(seconds=1)}
    box.begin()
    box.look(step=500.0)
    box.show(replace(GPU, uuid="GPU-1"))
    assert box.store.first_seen() == {**since, "GPU-1": NOON + timedelta(seconds=501)}


def test_a_full_disk_keeps_nobody_from_looking_and_what_was_seen_is_written_later(box: Box) -> None:
    job = box.start()
    arm("store.commit=error:ENOSPC*100")
    for _ in range(int(sampler.SAVE_SECONDS) + 2):
        box.look(100, p100=GIB, p7=GIB)
    arm("")
    (attempt,) = box.store.attempts(job.id)
    assert attempt.device_use is None
    for _ in range(int(sampler.SAVE_SECONDS) + 2):
        box.look(100, p100=GIB, p7=GIB)
    (attempt,) = box.store.attempts(job.id)
    assert attempt.device_use is not None and attempt.device_use["seconds"] > 2 * sampler.SAVE_SECONDS - 2
    assert sum(one[2] for one in box.store.strangers(NOON, NOON + timedelta(days=1))) > 100
    assert list(box.store.first_seen()) == ["GPU-0"]


def test_nothing_is_written_at_each_reading(box: Box) -> None:
    box.start()
    box.look(p100=GIB)
    before = box.store._connection.total_changes
    for _ in range(int(presence_monitor.SAVE_SECONDS) - 5):
        box.look(p100=GIB, p7=GIB)
    assert box.store._connection.total_changes == before
