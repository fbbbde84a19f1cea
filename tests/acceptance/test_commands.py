"""The commands that change and show jobs, against a real daemon."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from .harness import ENDLESS, RunningDaemon, eventually, write_job

JOB_FIELDS = {
    "id", "name", "user", "state", "reason", "message", "priority", "submitted_at", "started_at", "ended_at",
    "node", "pid", "device", "attempt", "progress", "expected_start", "exit", "results",
}  # fmt: skip
ADDED_FIELDS = {
    "group", "group_id", "sweep", "held", "share", "notice", "trouble", "results_removed_at", "away_since",
}  # fmt: skip
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def completed(daemon: RunningDaemon) -> int:
    """A job that has completed; nobody changes it."""
    job = daemon.submit_quick("done", epochs=3)
    assert daemon.cli("wait", job).returncode == 0
    return job


def test_status_is_an_array_of_the_fields_of_the_interface(daemon: RunningDaemon, completed: int) -> None:
    (job,) = daemon.json("status", completed)
    assert set(job) == JOB_FIELDS | ADDED_FIELDS
    assert (job["id"], job["name"], job["state"], job["attempt"]) == (completed, "done", "COMPLETED", 1)
    assert all(INSTANT.fullmatch(job[name]) for name in ("submitted_at", "started_at", "ended_at"))
    assert (job["pid"], job["exit"]) == (None, {"code": 0, "signal": None})
    assert set(job["device"]) == {"kind", "index", "uuid", "name"}
    assert job["results"] == str(daemon.paths.result(completed))


def test_status_of_nothing_is_an_empty_array(daemon: RunningDaemon) -> None:
    assert daemon.json("status", "--state", "RUNNING") == []
    assert daemon.json("status", "--user", "nobody") == []


def test_fields_of_a_running_job(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("running", epochs=ENDLESS)
    daemon.until_epoch(job, 2)
    (found,) = daemon.json("status", job)
    assert set(found["progress"]) >= {"epoch", "epochs", "loss", "eta_seconds"}
    assert found["progress"]["epochs"] == ENDLESS
    title = Path(f"/proc/{found['pid']}/cmdline").read_bytes().rstrip(b"\0").decode()
    assert title.startswith(f"gpujobs trainer: job {job} running")
    assert (found["ended_at"], found["exit"], found["results"]) == (None, None, None)
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")


def test_hold_and_release(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("held", "--hold")
    eventually(lambda: daemon.job(job)["reason"] == "Held", 10)
    other = daemon.submit_quick("overtakes")
    daemon.until(other, "COMPLETED")
    assert daemon.job(job)["state"] == "PENDING"
    daemon.cli("release", job, code=0)
    daemon.until(job, "COMPLETED")
    refused = daemon.cli("hold", job, code=2)
    assert "only a PENDING job can be held" in refused.stderr


def test_requeue_of_a_running_job_is_another_attempt(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("again", epochs=100, more="retries: 0\n")
    daemon.until_epoch(job, 1)
    daemon.cli("requeue", job, code=0)
    found = daemon.until(job, "COMPLETED")
    assert found["attempt"] == 2  # and its one try was not used up by it


def test_requeue_of_an_ended_job_is_another_job(daemon: RunningDaemon, completed: int) -> None:
    (copy,) = daemon.json("requeue", completed)
    assert copy["id"] != completed
    daemon.until(copy["id"], "COMPLETED")
    assert daemon.job(completed)["state"] == "COMPLETED"
    assert daemon.paths.result(copy["id"]) != daemon.paths.result(completed)


def test_after_success_and_after_failure(daemon: RunningDaemon) -> None:
    good = daemon.submit_quick("good", epochs=20)
    bad = daemon.submit_quick("bad", epochs=ENDLESS)
    after_good = daemon.submit_quick("after-good", "--after", good)
    after_bad = daemon.submit_quick("after-bad", "--after", bad)
    after_both = daemon.submit_quick("after-after", "--after", after_bad)
    eventually(lambda: daemon.job(after_bad)["reason"] == "Dependency", 10)
    daemon.until(after_good, "COMPLETED")
    assert daemon.job(good)["ended_at"] <= daemon.job(after_good)["started_at"]
    daemon.cli("cancel", bad, code=0)
    for job in (after_bad, after_both):
        found = daemon.until(job, "CANCELLED")
        assert (found["reason"], found["attempt"]) == ("DependencyFailed", 0)
    refused = daemon.cli("submit", write_job(daemon.root), "--after", bad, code=2)
    assert f"job {bad} has ended CANCELLED" in refused.stderr


def test_logs_follow_until_the_end(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("followed", "--hold", epochs=20)
    with daemon.popen("logs", "-f", job) as follower:
        daemon.cli("release", job, code=0)
        output, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert output == daemon.job_log(job)
    assert output.count("Epoch 20/20") == 1
    assert daemon.job_log(job, "--tail", 1) == output.splitlines(keepends=True)[-1]


def test_wait_times_out(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("waited", "--hold")
    late = daemon.cli("wait", job, "--timeout", "0.3", code=1)
    assert f"job {job} has not ended after 0.3 s" in late.stderr
    daemon.cli("cancel", job, code=0)


def test_fetch_is_whole_and_overwrites_nothing(daemon: RunningDaemon, completed: int) -> None:
    target = daemon.root / "fetched"
    daemon.cli("fetch", completed, target, code=0)
    names = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    source = daemon.paths.result(completed)
    assert names == {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.name != ".attempt"
    }
    assert all((target / name).read_bytes() == (source / name).read_bytes() for name in names)
    (target / "model.keras").write_text("mine")
    refused = daemon.cli("fetch", completed, target, code=2)
    assert "exists" in refused.stderr
    assert (target / "model.keras").read_text() == "mine"


def test_an_interrupted_fetch_leaves_nothing(daemon: RunningDaemon, completed: int) -> None:
    """A file-size limit stops it in the middle of the model."""
    place = daemon.root / "small"
    place.mkdir()
    limited = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "sh", *_command(daemon), "fetch", str(completed), "x"],
        cwd=place, env=daemon.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert limited.returncode == 4, limited.stderr
    assert list(place.iterdir()) == []


def _command(daemon: RunningDaemon) -> tuple[str, ...]:
    from .harness import COMMAND

    return COMMAND


def test_a_submission_repeated_with_its_key_makes_one_job(daemon: RunningDaemon) -> None:
    path = write_job(daemon.root, "repeated")
    (first,) = daemon.json("submit", path, "--hold")  # uploads the data
    from gpujobs.client.submission import read_job_files

    body = {"request_key": "the same", "set": {}, "options": {"hold": True}}
    with daemon.client() as client:
        answers = [read_job_files([str(path)]).send(client, "/v1/jobs", body) for _ in range(3)]
    ids = {job["id"] for answer in answers for job in answer["jobs"]}
    assert len(ids) == 1 and ids != {first["id"]}
    daemon.cli("cancel", first["id"], *ids, code=0)


def test_a_thousand_jobs_of_a_sweep(daemon: RunningDaemon) -> None:
    sweep = "sweep:\n  grid:\n    training.seed: [" + ", ".join(map(str, range(1000))) + "]\n"
    path = write_job(daemon.root, "sweep", more=sweep)
    ids = daemon.submit(path, "--hold")
    assert len(ids) == len(set(ids)) == 1000
    spool = daemon.paths.spool / "data"
    assert len([path for path in spool.rglob("*") if path.is_file()]) <= 2  # its data is stored once
    assert len(daemon.json("status", "--state", "PENDING")) == 1000
    with daemon.client() as client:
        client.post("/v1/jobs/cancel", {"ids": ids})
    with suppress(StopIteration):
        assert daemon.json("status") == []


def test_show_has_the_whole_history(daemon: RunningDaemon, completed: int) -> None:
    shown = daemon.json("show", completed)
    assert [event["to"] for event in shown["events"] if event["to"]] == [
        "PENDING", "STARTING", "RUNNING", "COMPLETING", "COMPLETED",
    ]  # fmt: skip
    assert shown["spec"]["training"]["epochs"] == 3
    text = daemon.cli("show", completed, code=0).stdout
    assert "history" in text and "COMPLETED" in text


def test_gpus_without_a_gpu_shows_the_slots(daemon: RunningDaemon) -> None:
    devices = daemon.json("gpus")
    assert [(device["kind"], device["index"], device["state"]) for device in devices] == [
        ("cpu", 0, "free"),
        ("cpu", 1, "free"),
    ]


def test_results_lists_what_can_be_fetched(daemon: RunningDaemon, completed: int) -> None:
    found = {entry["job"]: entry for entry in daemon.json("results")}
    assert {"model.keras", "predictions.npz", "history.csv", "log.txt"} <= {
        file["name"] for file in found[completed]["files"]
    }
