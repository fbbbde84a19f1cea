"""Sweeps with a real daemon: a group's life, from one copy of the data to the ranked table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import running
from .harness import ENDLESS, ROOT, UNPACED, RunningDaemon, eventually, write_job

pytestmark = pytest.mark.timeout(600)

SAMPLE = ROOT / "jobs/optimizer-sweep.yaml"
GUESSING = 1 / 3
"""The mean absolute error of guessing the mean of a sum of two numbers from 0 to 1: E|x + y - 1|."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """Of their own: they submit thousands of jobs, and count what is stored."""
    with running(environment=UNPACED) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def optimizers(daemon: RunningDaemon) -> list[int]:
    """The sample's twelve jobs; they have completed."""
    ids = daemon.submit(SAMPLE)
    daemon.cli("wait", "optimizer-sweep", code=0, timeout=540)
    return ids


def metrics_of(daemon: RunningDaemon, job: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((daemon.paths.result(job) / "metrics.json").read_text())
    return found


def test_the_sample_makes_twelve_jobs_with_one_copy_of_the_data(
    daemon: RunningDaemon, optimizers: list[int]
) -> None:
    jobs = daemon.json("status", "optimizer-sweep")
    assert [job["id"] for job in jobs] == optimizers and len(jobs) == 12
    assert {(job["group"], job["group_id"]) for job in jobs} == {("optimizer-sweep", optimizers[0])}
    settings = [job["sweep"]["training.optimizer"] for job in jobs]
    assert len({json.dumps(one) for one in settings}) == 12
    digest = daemon.show(optimizers[0])["data"][0]["sha256"]
    assert {daemon.show(job)["data"][0]["sha256"] for job in optimizers} == {digest}
    copies = [path for path in (daemon.paths.spool / "data").rglob("*") if path.is_file()]
    assert [path.name for path in copies] == [digest]
    for job, optimizer in zip(optimizers, settings, strict=True):
        assert daemon.show(job)["spec"]["training"]["optimizer"] == optimizer


def test_its_results_are_ranked_in_a_table_of_80_columns(
    daemon: RunningDaemon, optimizers: list[int]
) -> None:
    kept = {job: metrics_of(daemon, job)["kept"]["val_loss"] for job in optimizers}
    expected = sorted(optimizers, key=lambda job: (kept[job], job))
    lines = daemon.cli("results", "optimizer-sweep", code=0).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"g{optimizers[0]} optimizer-sweep: 12 jobs, 12 completed"
    assert lines[1] == "ranked by val_loss (less is better), which training.best_weights watches"
    assert lines[3].split() == ["RANK", "JOB", "VAL_LOSS", "OPTIMIZER"]
    assert [int(line.split()[1]) for line in lines[4:16]] == expected
    assert lines[-1].startswith(f"best: job {expected[0]}, val_loss {kept[expected[0]]:.5g};")
    adam = next(line for line in lines if "Adam(learning_rate=0.01)" in line)
    assert f"{kept[optimizers[8]]:.5g}" in adam


def test_the_sample_shows_what_its_comment_says(daemon: RunningDaemon, optimizers: list[int]) -> None:
    for job in optimizers:
        ((name, arguments),) = daemon.show(job)["spec"]["training"]["optimizer"].items()
        error = metrics_of(daemon, job)["evaluation"]["model"]["mae"]
        if name in ("Adam", "AdamW", "Nadam", "RMSprop"):
            assert error < 0.1 if arguments["learning_rate"] == 0.01 else error > 0.2, (name, arguments)
        elif name == "SGD" and "momentum" not in arguments:
            assert error == pytest.approx(GUESSING, abs=0.02), arguments


def test_another_metric_ranks_otherwise(daemon: RunningDaemon, optimizers: list[int]) -> None:
    ranking = daemon.json("results", f"g{optimizers[0]}", "--metric", "test_mae", "--mode", "max")
    errors = {job: metrics_of(daemon, job)["evaluation"]["model"]["mae"] for job in optimizers}
    assert ranking["best"] == max(optimizers, key=lambda job: errors[job])
    assert [member["value"] for member in ranking["members"]] == sorted(errors.values(), reverse=True)
    refused = daemon.cli("results", "optimizer-sweep", "--metric", "tset_mae", code=2)
    assert "no job of this group has tset_mae; expected one of data_share, loss, mae," in refused.stderr


def test_a_completed_group_is_one_line_that_unfolds(daemon: RunningDaemon, optimizers: list[int]) -> None:
    group = f"g{optimizers[0]}"
    folded = [line.split() for line in daemon.cli("status", "--all").stdout.splitlines()]
    assert [line for line in folded if line[0] == group] and str(optimizers[3]) not in {r[0] for r in folded}
    lines = daemon.cli("status", "optimizer-sweep").stdout.splitlines()
    assert lines[1].startswith(f"{group}  ") and "100%: 12 completed" in lines[1]
    assert sorted(int(line.split()[0]) for line in lines[2:]) == optimizers


def endless_sweep(daemon: RunningDaemon, name: str, sweep: str) -> Path:
    return write_job(daemon.root, name, epochs=ENDLESS, more=f"retries: 0\nsweep: {sweep}\n")


def states(daemon: RunningDaemon, group: str) -> list[str]:
    return [job["state"] for job in daemon.json("status", group)]


def test_cancel_of_a_group_leaves_nothing_of_it(daemon: RunningDaemon) -> None:
    random = "{random: {count: 6, seed: 3, distributions: {training.batch_size: {integers: [2, 6]}}}}"
    path = endless_sweep(daemon, "doomed", random)
    ids = daemon.submit(path)
    other = daemon.submit_quick("spared", "--hold")
    eventually(lambda: states(daemon, "doomed").count("RUNNING") == 2, 60, lambda: daemon.story(ids))
    lines = daemon.cli("status").stdout.splitlines()
    assert f"g{ids[0]}" in lines[1] and "2 running, 4 pending" in lines[1]
    daemon.cli("cancel", "doomed", code=0)
    for job in ids:
        daemon.until(job, "CANCELLED")
    assert daemon.job(other)["state"] == "PENDING"
    again = daemon.cli("cancel", "doomed", code=0)
    assert again.stdout.endswith("no job of doomed is one to cancel\n")
    assert "6 cancelled" in daemon.cli("results", "doomed", code=0).stdout
    daemon.cli("cancel", other, code=0)


def test_a_group_is_held_released_and_queued_again(daemon: RunningDaemon) -> None:
    path = write_job(daemon.root, "again", more="sweep: {grid: {training.seed: [0, 1, 2]}}\n")
    ids = daemon.submit(path, "--hold")
    assert daemon.cli("cancel", ids[0], code=0)
    assert [job["id"] for job in daemon.json("release", "again")] == ids[1:]
    assert daemon.cli("wait", "again").returncode == 1
    assert states(daemon, "again") == ["CANCELLED", "COMPLETED", "COMPLETED"]
    (copy,) = daemon.json("requeue", "again")
    assert (copy["name"], copy["group_id"], copy["sweep"]) == ("again-1", ids[0], {"training.seed": 0})
    assert daemon.json("requeue", "again") == []
    daemon.until(copy["id"], "COMPLETED")
    members = daemon.json("results", "again")["members"]
    assert sorted(member["job"]["id"] for member in members) == [*ids[1:], copy["id"]]
    assert all(member["rank"] for member in members)


def test_a_group_of_thousands(daemon: RunningDaemon) -> None:
    """Their ids fill more than a request's first line commonly may have."""
    more = "sweep:\n  random: {count: 3000, distributions: {training.seed: {integers: [0, 99999]}}}\n"
    ids = daemon.submit(write_job(daemon.root, "many", more=more), "--hold")
    assert len(ids) == 3000
    lines = daemon.cli("status", "--limit", "0").stdout.splitlines()
    assert len(lines) == 2 and "0%: 3000 pending; Held" in lines[1]
    done = daemon.cli("cancel", "many", code=0)
    assert done.stdout.endswith("... 3000 jobs in all: 3000 cancelled\n")
    waited = daemon.cli("wait", "many", code=1)
    assert waited.stdout.count("CANCELLED") == 3000
