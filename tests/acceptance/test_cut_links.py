"""Links that are cut, daemons and boxes that die: no job is lost, and none has two live attempts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from .boxes import Cluster, Node, cluster, slept
from .harness import ENDLESS, eventually, is_alive

LEASE = 60


pytestmark = pytest.mark.slow  # leases take their time


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    with cluster(2, config=f'lease = "{LEASE}s"\n') as made:
        yield made


def test_a_cut_that_heals_within_the_lease_costs_nothing(two: Cluster) -> None:
    job = two.on("box2")
    two.daemon.until_epoch(job, 2)
    before = two.daemon.job(job)["pid"]
    two.boxes[1].cut()
    away = two.until("box2", "down", 30)
    assert "away since" in away["message"] and away["jobs"] == [job]
    slept(10)
    assert is_alive(before)
    two.boxes[1].heal()
    two.until("box2", "ok", 40)
    reached = two.daemon.job(job)["progress"]["epoch"]
    found = two.daemon.until_epoch(job, reached + 1)
    assert (found["pid"], found["attempt"]) == (before, 1), "the attempt is found again"
    two.daemon.cli("finish", job, code=0)
    two.daemon.until(job, "COMPLETED")


def test_the_daemons_restart_ends_no_training_on_the_other_box(two: Cluster) -> None:
    job = two.on("box2")
    before = two.daemon.until_epoch(job, 2)["pid"]
    two.daemon.restart()
    found = two.daemon.until(job, "RUNNING")
    assert (found["pid"], found["attempt"], found["node"]) == (before, 1, "box2")
    two.daemon.cli("finish", job, code=0)
    two.daemon.until(job, "COMPLETED")
    assert len(two.attempts_of(job)) == 1


def test_results_come_home_though_who_brings_them_is_killed_in_the_middle(
    two: Cluster, tmp_path: Path
) -> None:
    """The first time it fails before it has begun, the second time within a file."""
    quick: dict[str, Any] = {"epochs": 3, "name": "home"}
    near = two.daemon.submit_quick(**quick, more="resources: {node: box1}\n")
    (known,) = two.until_ended([near])
    points = {
        "GPUJOBS_FAILPOINTS": "homecoming.begin=error:EIO*1,homecoming.piece=kill*1",
        "GPUJOBS_FAILPOINTS_DIR": str(tmp_path),
    }
    with patch.dict(two.daemon.environment, points):
        two.daemon.restart()
    two.until("box2", "ok")
    far = two.daemon.submit_quick(**quick, more="resources: {node: box2}\n")
    (found,) = two.until_ended([far])
    assert {point.name: point.stat().st_size > 1 for point in tmp_path.iterdir()} == {
        "homecoming.begin": True,
        "homecoming.piece": True,
    }
    two.daemon.restart()
    assert (known["state"], found["state"]) == ("COMPLETED", "COMPLETED"), two.story()
    assert len(two.attempts_of(far)) == 1
    one, other = (Path(job["results"]) for job in (known, found))
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    for name in ("predictions.csv", "history.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_cut_beyond_the_lease_ends_the_trainer_there_before_another_starts_here(two: Cluster) -> None:
    job = two.daemon.submit_quick("roams", epochs=ENDLESS, more="resources: {node: box2}\n")
    two.daemon.until_epoch(job, 2)
    pid = two.daemon.job(job)["pid"]
    two.boxes[1].cut()
    began = time.monotonic()
    eventually(lambda: not is_alive(pid), LEASE + 10, two.story)
    ended = time.monotonic() - began
    two.daemon.until(job, "PENDING", seconds=LEASE + 30)
    assert time.monotonic() - began > ended, "it was queued again only after its trainer had ended"
    assert two.attempts_of(job)[0]["reason"] == "NodeLost"
    said = [event["message"] for event in two.daemon.show(job)["events"] if event["kind"] == "warning"]
    assert any(
        text.startswith("what attempt 1 has trained on box2 has not come home (")
        and text.endswith("); it begins anew, unless it starts on box2 again")
        for text in said
    ), said
    two.boxes[1].heal()
    two.until("box2", "ok", 90)
    assert two.daemon.until(job, "RUNNING", seconds=60)["attempt"] == 2
    two.daemon.cli("cancel", job, code=0)
    two.daemon.until(job, "CANCELLED")
    assert len(two.attempts_of(job)) == 2


def test_a_box_that_dies_whole_loses_no_job(two: Cluster) -> None:
    job = two.daemon.submit_quick("survivor", epochs=3, more="")
    two.until_ended([job])
    held = two.on("box2")
    free = two.daemon.submit_quick("moves", epochs=ENDLESS)
    two.daemon.until_epoch(held, 1)
    two.nodes[0].kill()
    two.until("box2", "down", 60)
    other = Node(two.boxes[1], two.boxes[0], two.token, name="box2")
    other.live_in(two.boxes[1].root / "s2")
    assert "the name box2 is that of another box, which joined at" in other.refused()
    two.daemon.until(held, "PENDING", seconds=LEASE + 60)
    assert "box2: away since" in two.daemon.job(held)["message"]
    assert two.daemon.job(free)["state"] == "RUNNING"
    two.daemon.cli("cancel", held, free, code=0)
    assert "is no node" in two.daemon.cli("node", "remove", "box2", code=0).stdout
    assert [node["name"] for node in two.daemon.json("node", "list")] == ["box1"]
