"""As after a power cut: all that ran is gone, and of what it wrote some is gone, empty or halved."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, kill_all, processes_of


@pytest.fixture
def faulty() -> Iterator[RunningDaemon]:
    """The first collections fail, and the first recording of an end."""
    points = "attempts.exited.commit=full*1,collect.begin=error:EIO*2"
    with running(environment={"GPUJOBS_FAILPOINTS": points}) as daemon:
        yield daemon


def test_the_box_comes_back_whatever_is_left_of_an_attempt(faulty: RunningDaemon) -> None:
    daemon = faulty
    gone = daemon.submit_quick("gone")
    eventually(lambda: daemon.job(gone)["state"] == "COMPLETING", 60, lambda: daemon.story([gone]))
    shutil.rmtree(daemon.paths.job(gone).root)
    found = daemon.until(gone, "FAILED")
    assert found["reason"] == "ResultsFailed" and "attempt-1 is gone" in found["message"]

    jobs = [daemon.submit_quick(name, "--retries", 0, epochs=ENDLESS) for name in ("record", "claim")]
    for job in jobs:
        daemon.until_epoch(job, 1)
        checkpoint = daemon.paths.job(job).checkpoint / "checkpoint.npz"
        eventually(checkpoint.exists, 60, partial(daemon.story, [job]))
    daemon.kill9()
    kill_all(processes_of(daemon.state))
    eventually(lambda: not processes_of(daemon.state), 20)
    record, claim = (daemon.paths.job(job).attempt(1) for job in jobs)
    record.record.write_bytes(b"")
    claim.claim.unlink()
    claim.progress.write_bytes(claim.progress.read_bytes()[:5])
    daemon.environment.pop("GPUJOBS_FAILPOINTS")
    daemon.start()
    for job in jobs:
        again = daemon.until_epoch(job, 1)
        assert again["attempt"] == 2, daemon.story([job])
        shown = daemon.show(job)
        assert shown["retries_used"] == 0
        assert shown["attempts"][0]["reason"] == "SupervisorLost"
    eventually(lambda: "Resuming after epoch" in daemon.job_log(jobs[0]), 60, partial(daemon.story, jobs))
    told = [event["message"] for event in daemon.show(jobs[0])["events"] if event["kind"] == "damaged"]
    assert told == ["record.json is empty; it is kept as record.json.damaged"]
    daemon.cli("stop", "--cancel", code=0)
    assert daemon.wait_end() == 0
