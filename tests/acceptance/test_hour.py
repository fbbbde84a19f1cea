"""A scripted hour in a minute: two users, four fake devices and a foreign process that moves about.

`pytest -s` prints the history of the hour.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_nvml import GIB, FakeGpu, FakeGpus, box, uuid

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, short_directory
from .people import Person, cli_as, submit_as

RULES = '[priority]\nmax_priority = 10\n[packing]\nmargin = "1GiB"\nsettle = "1s"\n'


@pytest.fixture(scope="module")
def library(as_root: None) -> Iterator[FakeGpus]:
    directory = short_directory()
    yield box(directory, 4)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.fixture(scope="module")
def daemon(library: FakeGpus, alice: Person, bob: Person) -> Iterator[RunningDaemon]:
    environment = {**library.environment, "GPUJOBS_REQUIRE_GPU": "0"}
    with running(site=True, environment=environment, config=RULES) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "86400"], user="nobody") as process:
        yield process
        process.kill()


class Hour:
    """What the people do, and what has happened by then."""

    def __init__(self, daemon: RunningDaemon, gpus: FakeGpus, stranger: int) -> None:
        self.daemon, self.gpus, self.stranger = daemon, gpus, stranger
        self.jobs: list[int] = []

    def move_stranger(self, device: int | None) -> None:
        self.gpus.gpus = [
            FakeGpu(uuid(index), used_bytes=30 * GIB if index == device else 0) for index in range(4)
        ]
        self.gpus.processes = [] if device is None else [(device, "C", self.stranger, 30 * GIB)]
        self.gpus.write()

    def submit(self, person: Person, name: str, *options: object, more: str = "") -> int:
        job = submit_as(person, self.daemon, name, *options, epochs=ENDLESS, more=more)
        self.jobs.append(job)
        return job

    def device(self, job: int) -> int:
        index: int = self.daemon.until(job, "RUNNING")["device"]["index"]
        return index

    def waits(self, job: int, reason: str) -> str:
        found: dict[str, Any] = eventually(
            lambda: (one := self.daemon.job(job))["reason"] == reason and one,
            30,
            lambda: self.daemon.story([job]),
        )
        return str(found["message"])

    def history(self) -> list[str]:
        lines = []
        for job in self.jobs:
            shown = self.daemon.show(job)
            for event in shown["events"]:
                what = f"{event['kind']} {event['to'] or ''} {event['message']}".replace("  ", " ")
                lines.append(
                    f"{event['at'][11:23]} job {job:<2} {shown['job']['name']:<8} {event['actor']:<12} {what}"
                )
        for index in range(4):
            lines += [
                f"{event['at'][11:23]} GPU {index}  {'':<8} {event['actor']:<12} {event['message']}"
                for event in self.daemon.json("gpus", index)[0]["events"]
            ]
        return sorted(lines)


def test_an_hour_on_the_box(
    daemon: RunningDaemon,
    library: FakeGpus,
    stranger: subprocess.Popen[bytes],
    alice: Person,
    bob: Person,
) -> None:
    hour = Hour(daemon, library, stranger.pid)

    # Alice takes what she can get; somebody is on GPU 1.
    hour.move_stranger(1)
    first = [hour.submit(alice, f"a{n}", more="preemptible: true\n") for n in range(5)]
    assert sorted(hour.device(job) for job in first[:3]) == [0, 2, 3]
    assert f"GPU 1 is used by pid {stranger.pid} of nobody" in hour.waits(first[3], "Resources")

    # Bob comes: his first job is the next one, whoever was first in the queue.
    his = hour.submit(bob, "b0")
    hour.waits(his, "Resources")
    hour.waits(first[3], "Priority")
    hour.move_stranger(None)
    assert hour.device(his) == 1

    # Something urgent: one of Alice's preemptible jobs makes room.
    urgent = hour.submit(bob, "urgent", "--priority", 5)
    hour.device(urgent)
    stopped = [job for job in first[:3] if daemon.job(job)["state"] == "PENDING"]
    assert len(stopped) == 1

    # The stranger is back, beside a job that runs: both are told, and nobody is ended.
    place = hour.device(his)
    eventually(lambda: daemon.job(his)["progress"], 30)
    eventually(lambda: _is_settled(daemon, his), 30)
    hour.move_stranger(place)
    eventually(lambda: daemon.job(his)["notice"], 30, lambda: daemon.story([his]))
    assert daemon.job(his)["state"] == "RUNNING"
    hour.move_stranger(None)
    eventually(lambda: daemon.job(his)["notice"] is None, 30)

    # A device is taken out of service while a job is on it; small jobs share another one.
    daemon.cli("drain", place, "--reason", "its fan is loud", code=0)
    assert cli_as(bob, daemon, "cancel", his, urgent).returncode == 0
    for job in (his, urgent):
        daemon.until(job, "CANCELLED")
    assert cli_as(alice, daemon, "cancel", *first).returncode == 0
    for job in first:
        daemon.until(job, "CANCELLED")
    small = [hour.submit(bob, f"s{n}", more="resources: {gpu_memory: 8GiB}\n") for n in range(4)]
    assert len({hour.device(job) for job in small}) == 1
    assert place not in {hour.device(job) for job in small}
    daemon.cli("resume", place, code=0)
    assert cli_as(bob, daemon, "cancel", *small).returncode == 0
    for job in small:
        daemon.until(job, "CANCELLED")

    history = hour.history()
    print("\n" + "\n".join(history))
    assert_never_beside_the_stranger(history)


def _is_settled(daemon: RunningDaemon, job: int) -> bool:
    """The time is over in which a stranger counts as one that came together with the job."""
    from datetime import UTC, datetime, timedelta

    from gpujobs.daemon.devices.foreign_monitor import MEETING

    (attempt,) = daemon.show(job)["attempts"][-1:]
    begun = datetime.fromisoformat(attempt["running_at"])
    return datetime.now(UTC) - begun > MEETING + timedelta(seconds=1)


def assert_never_beside_the_stranger(history: list[str]) -> None:
    """Nothing was sent back because it had met somebody: the stranger was always seen before a start."""
    assert not [line for line in history if "it met pid" in line], history
    assert any("made room for job" in line for line in history)
    assert any("stranger" in line for line in history)
