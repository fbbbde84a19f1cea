"""Which job is given to a trainer that waits, as the daemon chooses it: the store and the parts of a real one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.build import Parts
from gpujobs.daemon.jobs.endings import key_of
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, Process, utc_now
from gpujobs.protocol.spec import AttemptSpec, DeviceName
from tests.integration.events import DONE, run
from tests.integration.node import new_daemon
from tests.specs import attempt_spec, event_of
from tests.unit.store.jobs import A, new_job

GIB = 1 << 30
UUID = "GPU-1"
TRAINING: dict[str, Any] = {"model": {"layers": []}, "training": {"optimizer": "adam"}}

keys = itertools.count()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    made = new_daemon(tmp_path / "s")
    yield made
    made.store.close()


def begin(daemon: Parts, memory: int | None = None, uuid: str = UUID) -> Job:
    """A job that was given the device."""
    (job,) = daemon.store.submit(A, f"key-{next(keys)}", [replace(new_job(), resolved=TRAINING)])
    device = Device(daemon.node_name, DeviceKind.GPU, 0, uuid, "gpu")
    job = daemon.store.start_attempt(job.id, device, memory)
    daemon.cache.put(job)
    return job


def spec_of(job: Job, **more: Any) -> AttemptSpec:
    assert job.current is not None
    device = DeviceName(DeviceKind.GPU, 0, job.current.device_uuid, "gpu")
    spec = attempt_spec(job=job.id, nonce=job.current.nonce, device=device, may_stay=True, jobfile=TRAINING)
    return replace(spec, **more)


def wait_after(daemon: Parts, memory: int | None = None) -> Job:
    """A job that has completed, whose trainer waits."""
    job = begin(daemon, memory)
    residents = daemon.attempts.residents
    residents.started(residents.choose(job, spec_of(job)))
    daemon.cache.put(daemon.store.mark_running(job.id, 1, 4711, utc_now()))

    async def end() -> None:
        daemon.attempts.on_event(event_of(daemon.cache.jobs[job.id], "exited", exit=DONE, stays=True))

    run(daemon, end)
    return job


def test_a_job_takes_what_waits_on_its_device_and_nobody_else_takes_that_too(daemon: Parts) -> None:
    first = wait_after(daemon)
    second, third = begin(daemon), begin(daemon)
    residents = daemon.attempts.residents
    chosen = residents.choose(second, spec_of(second))
    assert (chosen.resident, chosen.beside) == (key_of(first), ())
    assert residents.has_taken_over(second)
    other = residents.choose(third, spec_of(third))
    assert not residents.has_taken_over(first) and not residents.has_taken_over(third)
    assert (other.resident, other.beside) == (None, (key_of(first),))


@pytest.mark.parametrize(
    "more",
    [
        {"user": "b"},
        {"cpu_threads": 7},
        {"backend": "jax"},
        {"jobfile": {**TRAINING, "model": {"layers": [{"Dense": {}}]}}},
        {"jobfile": {"model": {"job": 3}}},
    ],
)
def test_what_does_not_fit_starts_afresh(daemon: Parts, more: dict[str, Any]) -> None:
    wait_after(daemon)
    job = begin(daemon)
    chosen = daemon.attempts.residents.choose(job, spec_of(job, **more))
    assert (chosen.resident, chosen.beside) == (None, ())


def test_a_job_on_another_device_starts_afresh(daemon: Parts) -> None:
    wait_after(daemon)
    job = begin(daemon, uuid="GPU-2")
    assert daemon.attempts.residents.choose(job, spec_of(job)).resident is None


@pytest.mark.parametrize(
    ("before", "now", "is_taken"),
    [
        ((None,), None, True),
        ((None,), 8 * GIB, False),
        ((2 * GIB,), None, True),
        ((2 * GIB,), 2 * GIB, True),
        ((2 * GIB,), 1 * GIB, False),
        ((3 * GIB, 3 * GIB), 3 * GIB, True),
        ((2 * GIB, 3 * GIB), 2 * GIB, False),
        ((2 * GIB, None), 3 * GIB, False),
    ],
)
def test_the_reservation_covers_the_largest_of_its_jobs(
    daemon: Parts, before: tuple[int | None, ...], now: int | None, is_taken: bool
) -> None:
    for memory in before:
        last = wait_after(daemon, memory)
    job = begin(daemon, now)
    chosen = daemon.attempts.residents.choose(job, spec_of(job))
    assert chosen.resident == (key_of(last) if is_taken else None)


def test_what_waits_is_no_strangers_and_takes_no_memory(daemon: Parts) -> None:
    wait_after(daemon)
    ours, other = Process(4711, "a", 3 * GIB, "python"), Process(4712, "b", GIB, "python")
    device = Device(
        daemon.node_name,
        DeviceKind.GPU,
        0,
        UUID,
        "gpu",
        memory_used_bytes=5 * GIB,
        processes=(ours, other),
    )
    node = Node(daemon.node_name, NodeStatus.OK, "", (device,))
    (seen,) = daemon.nodes.hidden(node).devices
    assert (seen.processes, seen.memory_used_bytes) == ((other,), 2 * GIB)
    elsewhere = replace(node, name="another")
    assert daemon.nodes.hidden(elsewhere) == elsewhere


def test_after_a_decision_only_those_wait_whose_device_was_given_to_somebody(daemon: Parts) -> None:
    wait_after(daemon)
    residents = daemon.attempts.residents

    async def decided() -> None:
        residents.let_go()

    job = begin(daemon)
    run(daemon, decided)
    assert residents.choose(job, spec_of(job)).resident is not None
    wait_after(daemon)
    run(daemon, decided)
    job = begin(daemon)
    assert residents.choose(job, spec_of(job)).resident is None


def test_who_has_been_taken_over_is_hidden_and_beside_no_more(daemon: Parts) -> None:
    """From then on it is a job's own process, whose memory counts."""
    first, residents = wait_after(daemon), daemon.attempts.residents
    process = Process(4711, "a", 3 * GIB, "python")
    device = Device(
        daemon.node_name, DeviceKind.GPU, 0, UUID, "gpu", memory_used_bytes=3 * GIB, processes=(process,)
    )
    node = Node(daemon.node_name, NodeStatus.OK, "", (device,))
    second = begin(daemon)
    chosen = residents.choose(second, spec_of(second))
    assert chosen.resident == key_of(first) and daemon.nodes.hidden(node) != node
    residents.started(chosen)
    assert daemon.nodes.hidden(node) == node
    third = begin(daemon)
    assert residents.choose(third, spec_of(third)).beside == ()
