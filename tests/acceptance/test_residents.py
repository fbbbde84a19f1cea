"""A trainer that has completed a job takes over the next of its user's, and nobody else's: a site, one slot."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, is_alive, write_job
from .people import Person, new_person, status_of, submit_as

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def daemon(alice: Person, bob: Person) -> Iterator[RunningDaemon]:
    with running(site=True, slots=1) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


def results(daemon: RunningDaemon, job: int) -> tuple[dict[str, list[Any]], str]:
    directory = daemon.paths.result(job)
    with np.load(directory / "predictions.npz") as found:
        arrays = {name: found[name].tolist() for name in found.files}
    return arrays, (directory / "history.csv").read_text()


def test_the_next_job_of_one_user_goes_on_in_the_same_process_and_two_users_never_share_one(
    daemon: RunningDaemon, alice: Person, bob: Person
) -> None:
    """In this order: alice's, bob's, two of alice's."""
    blocking = daemon.submit_quick("blocking", units=3, epochs=ENDLESS)
    daemon.until_epoch(blocking, 1)
    jobs = [
        submit_as(person, daemon, f"{person.name}-{seed}", "--set", f"training.seed={seed}")
        for person, seed in ((alice, 1), (bob, 1), (alice, 2), (alice, 1))
    ]
    for priority, job in zip((40, 30, 20, 10), jobs, strict=True):
        daemon.cli("prioritize", job, priority, code=0)
    daemon.cli("cancel", blocking, code=0)
    for job in jobs:
        daemon.until(job, "COMPLETED")
    shown = [daemon.show(job)["attempts"][-1] for job in jobs]
    pids = [attempt["pid"] for attempt in shown]
    assert len({*pids[:3]}) == 3 and pids[3] == pids[2], pids
    assert [attempt["trainer_of"] for attempt in shown] == [None, None, None, jobs[2]]
    assert results(daemon, jobs[0]) == results(daemon, jobs[1]) == results(daemon, jobs[3])
    assert results(daemon, jobs[0]) != results(daemon, jobs[2])
    logs = [daemon.job_log(job) for job in jobs]
    assert logs[3] == logs[0] != ""
    assert f"that of job {jobs[2]}" in daemon.cli("show", jobs[3], code=0).stdout
    eventually(lambda: not any(map(is_alive, pids)), 5)
    assert not list(daemon.paths.residents.iterdir())


HEADROOM_BYTES = 512 << 20
"""Of addresses. The allocator takes 64 MiB of them for each thread that asks for memory."""

BAD: dict[str, tuple[tuple[str, str], str]] = {
    "another shape": (("FAILED", "DataError"), "wrong.npz"),
    "out of memory": (("OUT_OF_MEMORY", "HostOutOfMemory"), "MemoryError"),
}


def write_bad(path: Path, what: str) -> None:
    if what == "another shape":  # than the four units of the file
        np.savez(path, x=np.zeros((6, 6, 1), np.float32), y=np.zeros((6, 3), np.float32))
    else:
        count = HEADROOM_BYTES * 5 // 8 // 24  # is there, and no copy of it
        np.savez_compressed(path, x=np.zeros((count, 6, 1), np.float32), y=np.zeros(count, np.int8))


@pytest.mark.parametrize("what", BAD)
def test_a_member_that_cannot_be_trained_says_why_and_the_others_complete_once(
    daemon: RunningDaemon, what: str
) -> None:
    (ending, said), name = BAD[what], what.replace(" ", "-")
    directory = daemon.root / name
    directory.mkdir()
    write_bad(directory / "wrong.npz", what)
    first = daemon.submit(write_job(directory, "first", epochs=ENDLESS))[0]
    pid = daemon.until_epoch(first, 1)["pid"]
    second = daemon.submit(write_job(directory, "wrong"), "--set", "data.train=wrong.npz")[0]
    third = daemon.submit(write_job(directory, "third"))[0]
    if what == "out of memory":
        most = int(status_of(pid)["VmSize"].split()[0]) * 1024 + HEADROOM_BYTES
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    daemon.cli("finish", first, code=0)
    ended = [daemon.until(job, "COMPLETED") for job in (first, third)]
    bad = daemon.until(second, ending[0])
    assert (bad["state"], bad["reason"]) == ending and said in bad["message"], bad
    assert [job["attempt"] for job in (ended[0], bad, ended[1])] == [1, 1, 1]
    shown = [daemon.show(job)["attempts"][-1] for job in (first, second, third)]
    assert [attempt["trainer_of"] for attempt in shown] == [None, first, None]
    assert shown[1]["pid"] == pid != shown[2]["pid"]


def test_who_is_removed_in_between_loses_her_own_jobs_and_nobody_elses(
    daemon: RunningDaemon, alice: Person
) -> None:
    with new_person(f"gjcarol{os.getpid() % 100000}", daemon.root / "carol") as carol:
        first = submit_as(carol, daemon, "first", epochs=ENDLESS)
        pid = daemon.until_epoch(first, 1)["pid"]
        second = submit_as(carol, daemon, "second")
        other = submit_as(alice, daemon, "after-carol")
        daemon.cli("prioritize", second, 10, code=0)
        subprocess.run(["userdel", "--force", carol.name], check=True, capture_output=True)
        daemon.cli("finish", first, code=0)
        gone = daemon.until(second, "FAILED")
        assert gone["reason"] == "LaunchFailed" and f"uid {carol.uid} is not a user" in gone["message"]
        ended = [daemon.until(job, "COMPLETED") for job in (first, other)]
        assert [job["attempt"] for job in ended] == [1, 1]
        eventually(lambda: not is_alive(pid))
