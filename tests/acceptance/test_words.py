"""What people are shown while a daemon starts, while jobs wait, and of names that nothing but people would choose."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator

import pytest

from gpujobs.jobfile.reader import read
from tests.fake_nvml import box

from .conftest import running
from .harness import ENDLESS, RunningDaemon, eventually, short_directory, write_job

NAMES = ["Lärm", "测试", "_test", "(a) test", "1e5", "🚀 go"]


@pytest.fixture(scope="module")
def one_slot() -> Iterator[RunningDaemon]:
    with running(slots=1) as daemon:
        yield daemon


def test_any_name_trains_and_is_kept(one_slot: RunningDaemon) -> None:
    path = write_job(one_slot.root)
    jobs = [one_slot.json("submit", path, "--name", name, "--json")[0]["id"] for name in NAMES]
    one_slot.cli("wait", *jobs, "--timeout", "2m", code=0)
    for job, name in zip(jobs, NAMES, strict=True):
        kept = read((one_slot.paths.result(job) / "job.yaml").read_text(encoding="utf-8"), "yaml")
        spec = one_slot.show(job)["spec"]
        spec["data"]["train"]["path"] = str(path.parent / spec["data"]["train"]["path"])
        assert kept.tree == spec and kept.tree["name"] == name
    drawn = one_slot.cli("results", code=0).stdout
    assert all(name in drawn for name in NAMES)


def test_a_released_job_says_what_it_waits_for_and_a_watch_is_no_flood(one_slot: RunningDaemon) -> None:
    path = write_job(one_slot.root, "long", epochs=ENDLESS)
    (first,) = one_slot.json("submit", path, "--json")
    one_slot.until(first["id"], "RUNNING")
    held = [one_slot.json("submit", path, "--hold", "--json")[0]["id"] for _ in range(2)]
    said = one_slot.cli("release", held[0], code=0).stdout
    assert f"released; waits for its turn (Resources: CPU slot 0 is used by job {first['id']})" in said
    (second,) = one_slot.json("release", held[1], "--json")
    assert (second["reason"], second["message"]) == ("Priority", "1 job is ahead")
    with one_slot.client() as client, client.open("/v1/queue/watch") as states:
        begun, drawn = time.monotonic(), 0
        while time.monotonic() < begun + 3:
            answer = json.loads(states.readline())
            drawn += 1
        assert {row["job"]["id"] for row in answer["rows"]} == {first["id"], *held}
        assert 2 <= drawn <= 8, "twice a second at most, though each epoch is news"
    follower = one_slot.popen("logs", "-f", held[1])
    assert follower.stderr is not None
    told = follower.stderr.readline()
    one_slot.cli("cancel", held[0], code=0)
    told += follower.stderr.readline()
    said = one_slot.cli("status", held[1], code=0).stdout
    assert f"Resources: CPU slot 0 is used by job {first['id']}" in said
    one_slot.cli("cancel", first["id"], held[1], code=0)
    told += follower.communicate(timeout=60)[1]
    assert f"job {held[1]} waits: Resources: CPU slot 0 is used by job {first['id']}" in told
    one_slot.until(first["id"], "CANCELLED")
    assert "has already ended" in one_slot.cli("cancel", first["id"], code=0).stdout


def test_gpus_are_shown_before_ray_is_up() -> None:
    directory = short_directory()
    gpus = box(directory, 2)
    root = short_directory()
    daemon = RunningDaemon(root, environment={**gpus.environment, "GPUJOBS_REQUIRE_GPU": "0"})
    try:
        daemon.start(wait=False)
        eventually(lambda: daemon.cli("gpus").returncode != 3, 30, daemon.story)
        answer = daemon.get("/v1/gpus")
        assert [device["uuid"] for device in answer["devices"]] == [one.uuid for one in gpus.gpus]
        said = daemon.cli("gpus", code=0).stdout
        assert "gpu 0" in said and "gpu 1" in said and "starting Ray" not in said
        assert "checks" in daemon.get("/v1/doctor")
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)
