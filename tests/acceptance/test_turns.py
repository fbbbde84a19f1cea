"""Whose turn it is on a box of fake GPUs: packing, preemption, reservations, times and limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fake_nvml import FakeGpus, box, uuid

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, short_directory, write_job

SETTINGS = """
[packing]
margin = "1GiB"
settle = "1s"

[limits]
max_time_limit = "2h"

[priority]
max_priority = 10
"""


@pytest.fixture(scope="module")
def library() -> Iterator[FakeGpus]:
    directory = short_directory()
    yield box(directory, 2)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.fixture(scope="module")
def daemon(library: FakeGpus) -> Iterator[RunningDaemon]:
    settings = library.library / "gpujobs.toml"
    settings.write_text(SETTINGS)
    environment = {**library.environment, "GPUJOBS_REQUIRE_GPU": "0", "GPUJOBS_CONFIG": str(settings)}
    with running(environment=environment) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def idle(daemon: RunningDaemon) -> Iterator[None]:
    """Nothing runs, and nothing is reserved, after a test."""
    yield
    left = [job["id"] for job in daemon.json("status")]
    if left:
        daemon.cli("cancel", *left, code=0)
    eventually(lambda: not daemon.json("status"), 30, daemon.story)
    for one in daemon.json("reserve"):
        daemon.cli("unreserve", one["id"], code=0)


def with_memory(size: str, more: str = "") -> str:
    return f"resources: {{gpu_memory: {size}{more}}}\n"


def waits(daemon: RunningDaemon, job: int, reason: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(
        lambda: (one := daemon.job(job))["reason"] == reason and one, 20, lambda: daemon.story([job])
    )
    return found


def devices_of(daemon: RunningDaemon, jobs: list[int]) -> list[str]:
    return [daemon.until(job, "RUNNING")["device"]["uuid"] for job in jobs]


# Sharing a device


def test_jobs_that_say_how_much_memory_they_need_share_a_device(daemon: RunningDaemon) -> None:
    files = [write_job(daemon.root, f"tenth-{n}", epochs=ENDLESS, more=with_memory("8GiB")) for n in range(8)]
    jobs = daemon.submit(*files)
    assert set(devices_of(daemon, jobs)) == {uuid(0)}, "one user's jobs are packed together first"
    (first, second) = daemon.json("gpus")
    assert (first["jobs"], first["state"], second["state"]) == (jobs, "busy", "free")


def test_a_whole_device_is_not_shared(daemon: RunningDaemon) -> None:
    whole = daemon.submit_quick("whole", epochs=ENDLESS)
    (device,) = devices_of(daemon, [whole])
    small = daemon.submit_quick("small", epochs=ENDLESS, more=with_memory("1GiB"))
    assert devices_of(daemon, [small]) != [device]
    third = daemon.submit_quick("third", epochs=ENDLESS)
    message = waits(daemon, third, "Resources")["message"]
    assert f"jobs {whole} and {small}" in message, message


def test_more_than_a_device_has_is_refused(daemon: RunningDaemon) -> None:
    path = write_job(daemon.root, "huge", more=with_memory("100GiB"))
    said = daemon.cli("submit", path, code=2).stderr
    assert said.startswith(f"{path}:") and "at most 79" in said, said


# Priority


def test_a_preemptible_job_makes_room_for_a_higher_class_and_goes_on_later(daemon: RunningDaemon) -> None:
    low = daemon.submit_quick("low", epochs=ENDLESS, more="preemptible: true\nresources: {gpu: 0}\n")
    daemon.until_epoch(low, 3)
    high = daemon.submit_quick("high", "--priority", 5, epochs=ENDLESS, more="resources: {gpu: 0}\n")
    daemon.until(high, "RUNNING")
    waits(daemon, low, "Resources")
    messages = [event["message"] for event in daemon.show(low)["events"]]
    assert any(f"it made room for job {high}" in message for message in messages), messages
    daemon.cli("cancel", high, code=0)
    again = daemon.until(low, "RUNNING")
    assert again["attempt"] == 2
    eventually(lambda: "Resuming after epoch" in daemon.job_log(low), 30)


def test_an_ordinary_job_is_not_preempted(daemon: RunningDaemon) -> None:
    low = daemon.submit_quick("stays", epochs=ENDLESS, more="resources: {gpu: 0}\n")
    daemon.until(low, "RUNNING")
    high = daemon.submit_quick("waits", "--priority", 5, more="resources: {gpu: 0}\n")
    waits(daemon, high, "Resources")
    assert daemon.job(low)["state"] == "RUNNING"


# Times


def test_a_job_begins_when_it_is_told_to(daemon: RunningDaemon) -> None:
    later = daemon.submit_quick("later", "--begin", "+3s")
    assert waits(daemon, later, "BeginTime")["message"].startswith("begins at ")
    ended = daemon.until(later, "COMPLETED")
    assert ended["started_at"] >= daemon.show(later)["begin_at"]


def test_after_any_end(daemon: RunningDaemon) -> None:
    first = daemon.submit_quick("first", epochs=ENDLESS)
    either = daemon.submit_quick("either", "--after-any", first)
    only = daemon.submit_quick("only", "--after", first)
    assert f"waits for the end of job {first}" in waits(daemon, either, "Dependency")["message"]
    daemon.cli("cancel", first, code=0)
    daemon.until(either, "COMPLETED")
    assert daemon.until(only, "CANCELLED")["reason"] == "DependencyFailed"


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (("--begin", "2020-01-01"), "", "is in the past"),
        (("--after-any", 999999), "", "job 999999 does not exist"),
        ((), "resources: {time_limit: 3h}\n", "at most 2 h are allowed"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    daemon: RunningDaemon, options: tuple[object, ...], more: str, message: str
) -> None:
    said = daemon.cli("submit", write_job(daemon.root, "refused", more=more), *options, code=2).stderr
    assert message in said, said
    assert daemon.json("status") == []


def test_the_sites_limit_is_the_default(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("unlimited", "--hold")
    assert daemon.show(job)["time_limit_seconds"] == 7200


# Reservations


def test_a_reserved_device_is_kept(daemon: RunningDaemon) -> None:
    daemon.cli("reserve", 0, "--user", "nobody", "--until", "+1h", code=0)
    (kept,) = daemon.json("reserve")
    assert (kept["device"]["index"], kept["user"]) == (0, "nobody")
    job = daemon.submit_quick("other", more="resources: {gpu: 0}\n")
    assert "reserved for nobody from" in waits(daemon, job, "Reserved")["message"]
    assert [device["state"] for device in daemon.json("gpus")] == ["reserved", "free"]
    said = daemon.cli("reserve", 0, "--user", "root", "--until", "+2h", code=2).stderr
    assert "is reserved for nobody" in said, said
    said = daemon.cli("reserve", 1, "--group", "no-such-group", code=2).stderr
    assert "no-such-group is not a group of this machine" in said, said
    daemon.cli("unreserve", kept["id"], code=0)
    daemon.until(job, "COMPLETED")


def test_before_a_reservation_only_what_ends_in_time_starts(daemon: RunningDaemon) -> None:
    begin = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    daemon.cli("reserve", 0, "--user", "nobody", "--from", begin, "--until", "+2h", code=0)
    short = daemon.submit_quick("short", more="resources: {gpu: 0, time_limit: 10m}\n")
    daemon.until(short, "COMPLETED")
    long = daemon.submit_quick("long", more="resources: {gpu: 0, time_limit: 1h}\n")
    assert "nobody" in waits(daemon, long, "Reserved")["message"]


# A checkpoint is kept


def test_a_requeued_job_goes_on_where_it_was_stopped(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("stopped", epochs=ENDLESS)
    daemon.until_epoch(job, 5)
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")
    (again,) = daemon.json("requeue", job)
    daemon.until_epoch(again["id"], 6)
    assert "Resuming after epoch" in daemon.job_log(again["id"])


# When


def test_a_waiting_job_is_told_when_it_should_start(daemon: RunningDaemon) -> None:
    limit = "resources: {gpu: 0, time_limit: 30m}\n"
    running = daemon.submit_quick("running", epochs=ENDLESS, more=limit)
    begun = datetime.fromisoformat(daemon.until(running, "RUNNING")["started_at"])
    (waiting,) = daemon.json("submit", write_job(daemon.root, "waiting", more=limit))
    daemon.cli("show", waiting["id"], code=0)
    expected = datetime.fromisoformat(daemon.job(waiting["id"])["expected_start"])
    assert timedelta(0) < expected - begun <= timedelta(minutes=30, seconds=5)
    said = daemon.cli("submit", write_job(daemon.root, "third", more=limit), code=0).stdout
    assert "third queued; it should start at " in said, said
