"""Habits of the queue, with real trainings: ending early, another limit, what is left of a job, waiting for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .harness import ENDLESS, RunningDaemon, eventually, write_job


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


def test_a_training_that_is_finished_has_its_model(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("finished", epochs=ENDLESS)
    daemon.until_epoch(job, 3)
    waiting = daemon.submit_quick("next", "--after", job)
    daemon.cli("limit", job, "2h", code=0)
    assert daemon.show(job)["time_limit_seconds"] == 7200
    daemon.cli("finish", job, code=0)
    ended = daemon.until(job, "COMPLETED")
    results = Path(ended["results"])
    found = json.loads((results / "metrics.json").read_text())["finished"]
    rows = (results / "history.csv").read_text().splitlines()[1:]
    assert (found["why"], found["of"], found["epochs"]) == ("asked for", ENDLESS, len(rows))
    assert {"model.keras", "predictions.npz"} <= {path.name for path in results.iterdir()}
    assert "finish_requested" in {event["kind"] for event in daemon.show(job)["events"]}
    daemon.until(waiting, "COMPLETED")
    said = daemon.cli("finish", job, code=2).stderr
    assert f"job {job} has already ended: COMPLETED" in said


def test_what_a_cancelled_training_leaves(daemon: RunningDaemon, tmp_path: Path) -> None:
    job = daemon.submit_quick("left", epochs=ENDLESS)
    daemon.until_epoch(job, 3)
    eventually(lambda: daemon.cli("plot", job).returncode == 0)  # the history comes with the first checkpoint
    daemon.cli("fetch", job, tmp_path / "running", code=0)
    assert {"log.txt", "history.csv"} <= {path.name for path in (tmp_path / "running").iterdir()}
    daemon.cli("cancel", job, "--reason", "a lecture", code=0)
    ended = daemon.until(job, "CANCELLED")
    assert ended["message"].startswith("cancelled by ") and ended["message"].endswith(": a lecture")
    assert f"job {job} has already ended: CANCELLED" in daemon.cli("cancel", job, code=0).stdout
    daemon.cli("fetch", job, tmp_path / "ended", code=0)
    assert (tmp_path / "ended/model.keras").stat().st_size > 0
    done = len((tmp_path / "ended/history.csv").read_text().splitlines()) - 1
    (copy,) = daemon.json("requeue", job, "--finish")
    model = Path(daemon.until(copy["id"], "COMPLETED")["results"])
    finished = json.loads((model / "metrics.json").read_text())["finished"]
    assert finished == {"epochs": done, "of": ENDLESS, "why": "asked for"}


def test_a_time_limit_that_finishes(daemon: RunningDaemon) -> None:
    limit = "resources: {time_limit: 14s, at_limit: finish}\n"
    job = daemon.submit_quick("in-time", epochs=ENDLESS, more=limit)
    ended = daemon.until(job, "COMPLETED")
    found = json.loads((Path(ended["results"]) / "metrics.json").read_text())["finished"]
    assert found["why"] == "its time limit" and found["epochs"] > 1


def test_a_limit_that_is_lowered_ends_a_running_job(daemon: RunningDaemon) -> None:
    job = daemon.submit_quick("shortened", epochs=ENDLESS)
    daemon.until_epoch(job, 1)
    daemon.cli("limit", job, "8s", code=0)
    ended = daemon.until(job, "TIMEOUT")
    assert "8 seconds" in ended["message"]
    assert "more than" not in ended["message"]


def test_a_group_that_was_queued_again_completes(daemon: RunningDaemon) -> None:
    sweep = "sweep: {grid: {training.seed: [0, 1]}}\nat_most: 1\n"
    first, _ = daemon.submit(write_job(daemon.root, "seeds", more=sweep), "--hold")
    daemon.cli("cancel", "seeds", code=0)
    daemon.cli("requeue", "seeds", code=0)
    after = daemon.submit_quick("after", "--after", "seeds")
    never = daemon.submit_quick("never", "--after-failed", "seeds")
    daemon.cli("wait", "seeds", code=0)
    assert daemon.until(never, "CANCELLED")["reason"] == "DependencyFailed"
    daemon.until(after, "COMPLETED")
    (row,) = [row for row in daemon.get("/v1/queue", ids=["seeds"])["rows"] if "group" in row]
    assert (row["group"]["state"], row["group"]["counts"]) == ("COMPLETED", {"COMPLETED": 2})
    members = [daemon.job(one["id"]) for one in daemon.json("status", "seeds")]
    assert [one["id"] for one in members] == [first + 2, first + 3]
    one, two = sorted(
        (daemon.show(one["id"])["attempts"][0] for one in members), key=lambda one: str(one["started_at"])
    )
    assert one["ended_at"] <= two["started_at"], "at most one at once"
