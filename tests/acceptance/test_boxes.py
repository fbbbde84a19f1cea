"""Two boxes, one queue: a head and a node that has joined, each in a network namespace of its own."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import pytest

from .boxes import Cluster, cluster, sniffed
from .harness import ENDLESS, eventually, is_alive, processes_of, ray_program, write_job

SWEEP = "sweep: {grid: {training.seed: [0, 1, 2, 3]}}\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that both boxes see."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def two(lab: Path) -> Iterator[Cluster]:
    with cluster(2, config=f'[nodes]\nshared = ["{lab}"]\n') as made:
        yield made


def test_a_sweep_spreads_over_both_and_its_results_are_those_of_one_box(two: Cluster) -> None:
    file = write_job(two.daemon.root, "spread", epochs=3, more=SWEEP)
    jobs = two.until_ended(two.daemon.submit(file))
    assert [job["state"] for job in jobs] == ["COMPLETED"] * 4, two.story()
    assert {job["node"] for job in jobs} == {"box1", "box2"}
    alone = write_job(two.daemon.root, "alone", epochs=3, more=SWEEP + "resources: {node: box1}\n")
    for far, near in zip(jobs, two.until_ended(two.daemon.submit(alone)), strict=True):
        assert near["node"] == "box1"
        with (
            np.load(Path(far["results"]) / "predictions.npz") as one,
            np.load(Path(near["results"]) / "predictions.npz") as other,
        ):
            assert set(one) == set(other)
            assert all(np.array_equal(one[name], other[name]) for name in one), (far, near)
        history = [Path(job["results"]) / "history.csv" for job in (far, near)]
        assert len({_losses(path) for path in history}) == 1


def _losses(path: Path) -> str:
    """Without the seconds that an epoch took."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    kept = [index for index, name in enumerate(lines[0]) if "second" not in name and "time" not in name]
    return json.dumps([[line[index] for index in kept] for line in lines])


def test_ray_has_nothing_on_either_box_but_what_is_needed(two: Cluster) -> None:
    """The command `ray start` itself is there too, which keeps the others up."""
    for state in (two.daemon.state, two.nodes[0].state):
        commands = processes_of(state).values()
        programs = sorted(filter(None, map(ray_program, commands)))
        assert programs == ["gcs_server"] * (state == two.daemon.state) + ["ray::AgentActor", "raylet"], (
            commands
        )
        assert sum("ray_init" in command for command in commands) == 1


def test_the_log_of_a_job_on_the_other_box_is_followed_within_a_second(two: Cluster) -> None:
    job = two.on("box2")
    two.daemon.until_epoch(job, 2)
    there = two.nodes[0].state / f"spool/jobs/{job}/attempt-1/log.txt"
    follower = two.daemon.popen("logs", "-f", job)
    try:
        assert follower.stdout is not None
        lags = [_lag(there, number, follower.stdout) for number in range(1, 30)]
        assert max(lags[-5:]) < 1.0, lags
        shown = two.daemon.json("status", job)[0]
        assert (shown["node"], shown["state"]) == ("box2", "RUNNING")
        two.daemon.cli("finish", job, code=0)
        assert two.daemon.until(job, "COMPLETED")["node"] == "box2"
        assert follower.wait(20) == 0
    finally:
        follower.kill()
        follower.communicate()


def _lag(there: Path, number: int, shown: IO[str]) -> float:
    """Seconds from when the log there has so many lines until the last of them is shown here."""
    eventually(lambda: there.read_bytes().count(b"\n") >= number)
    began = time.monotonic()
    assert shown.readline()
    return time.monotonic() - began


def test_data_goes_to_a_box_once(two: Cluster) -> None:
    file = write_job(two.daemon.root, "once", epochs=1, more=SWEEP + "resources: {node: box2}\n")
    two.until_ended(two.daemon.submit(file))
    (kept,) = (two.nodes[0].state / "spool/data").glob("*/*")
    assert kept.read_bytes() == (two.daemon.root / "tutorial.npz").read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o400


def test_a_trainer_on_the_other_box_goes_on_with_the_next_job_which_leaves_the_same_as_alone(
    two: Cluster,
) -> None:
    sweep = "sweep: {grid: {training.seed: [5, 6, 7]}}\nresources: {node: box2}\n"
    jobs = two.until_ended(two.daemon.submit(write_job(two.daemon.root, "handed-on", epochs=3, more=sweep)))
    attempts = [two.attempts_of(job["id"]) for job in jobs]
    assert [len(each) for each in attempts] == [1, 1, 1], two.story()
    pids = {attempt["pid"] for (attempt,) in attempts}
    assert len(pids) == 1 and {attempt["node"] for (attempt,) in attempts} == {"box2"}
    assert [attempt["trainer_of"] for (attempt,) in attempts] == [None, jobs[0]["id"], jobs[1]["id"]]
    (alone,) = two.until_ended(
        [two.daemon.submit_quick("alone-at-home", "--set", "training.seed=7", epochs=3)]
    )
    assert two.attempts_of(alone["id"])[-1]["trainer_of"] is None
    near, far = weights_of(alone), weights_of(jobs[2])
    assert near.keys() == far.keys() and all(np.array_equal(near[name], far[name]) for name in near)
    assert len({_losses(Path(job["results"]) / "history.csv") for job in (alone, jobs[2])}) == 1
    eventually(lambda: not any(map(is_alive, pids)))


def weights_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """Every array in the model's file, by its name there."""
    found: dict[str, Any] = {}
    with (
        zipfile.ZipFile(Path(job["results"]) / "model.keras") as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as weights,
    ):
        weights.visititems(
            lambda name, one: found.update({name: one[()]}) if isinstance(one, h5py.Dataset) else None
        )
    assert found
    return found


def test_a_job_that_leaves_a_box_goes_on_elsewhere_to_the_same_weights(two: Cluster) -> None:
    daemon, spool = two.daemon, two.nodes[0].state / "spool/jobs"
    (undisturbed,) = two.until_ended([daemon.submit_quick("undisturbed", epochs=150)])
    blocking = two.on("box1")
    daemon.until(blocking, "RUNNING")
    job = daemon.submit_quick("moving", epochs=150)
    assert daemon.until_epoch(job, 5)["node"] == "box2"
    daemon.cli("node", "drain", "box2", code=0)
    daemon.cli("requeue", job, code=0)
    daemon.until(job, "PENDING")
    daemon.cli("cancel", blocking, code=0)
    moved = daemon.until(job, "COMPLETED", seconds=120)
    daemon.cli("resume", "box2:0", code=0)
    assert [attempt["node"] for attempt in two.attempts_of(job)] == ["box2", "box1"]
    began, alone, again = weights_of(undisturbed), weights_of(moved), daemon.job_log(job)
    assert began.keys() == alone.keys()
    assert all(np.array_equal(began[name], alone[name]) for name in began)
    assert _losses(Path(moved["results"]) / "history.csv") == _losses(
        Path(undisturbed["results"]) / "history.csv"
    )
    assert "Epoch 1/150" not in again, "it went on"
    assert "Epoch 1/150" in daemon.job_log(job, "--attempt", "1"), "and what it said there has come too"
    eventually(lambda: not (spool / str(job)).exists())


def test_what_a_cancelled_job_has_left_comes_home_and_a_copy_goes_on_on_another_box(two: Cluster) -> None:
    daemon, spool = two.daemon, two.nodes[0].state / "spool/jobs"
    blocking = two.on("box1")
    daemon.until(blocking, "RUNNING")
    job = daemon.submit_quick("left", epochs=ENDLESS)
    assert daemon.until_epoch(job, 3)["node"] == "box2"
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")
    eventually(lambda: not (spool / str(job)).exists(), 30, two.story)
    assert (daemon.paths.job(job).checkpoint / "checkpoint.npz").stat().st_mode & 0o777 == 0o600
    assert "Epoch 1/" in daemon.job_log(job)
    daemon.cli("fetch", job, "--into", daemon.root / "left", code=0)
    assert [path.name for path in (daemon.root / "left").rglob("model.keras")] == ["model.keras"]
    daemon.cli("node", "drain", "box2", code=0)
    (copy,) = [one["id"] for one in daemon.json("requeue", job)]
    daemon.cli("cancel", blocking, code=0)
    assert daemon.until_epoch(copy, 4)["node"] == "box1"
    daemon.cli("resume", "box2:0", code=0)
    daemon.cli("cancel", copy, code=0)
    daemon.until(copy, "CANCELLED")
    assert "Epoch 1/" not in daemon.job_log(copy)


def test_data_that_is_used_in_place_must_be_there(two: Cluster) -> None:
    """Each box has a /dev/shm of its own."""
    daemon = two.daemon
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        file = write_job(Path(directory), "in-place", more="resources: {node: box2}\n")
        file.write_text(file.read_text().replace("tutorial.npz", "{path: tutorial.npz, in_place: true}"))
        (job,) = daemon.submit(file)
        said = f"box2 has not the data that is used in place: {directory}/tutorial.npz: No such file or directory"
        eventually(lambda: said in json.dumps(daemon.json("status", job)), 60, two.story)
        daemon.cli("cancel", job, code=0)


def test_a_model_is_applied_on_any_box(two: Cluster) -> None:
    daemon = two.daemon
    (trained,) = two.until_ended([daemon.submit_quick("trained", epochs=2)])
    blocking = two.on("box1")
    daemon.until(blocking, "RUNNING")
    done = daemon.cli("predict", trained["id"], daemon.root / "tutorial.npz", "--json", code=0)
    (applied,) = json.loads(done.stdout)
    daemon.cli("cancel", blocking, code=0)
    assert daemon.job(applied["id"])["node"] == "box2"
    with (
        np.load(Path(trained["results"]) / "predictions.npz") as first,
        np.load(Path(applied["results"]) / "predictions.npz") as again,
    ):
        np.testing.assert_allclose(again["y_pred"], first["y_pred"], atol=1e-6)


def test_nothing_of_a_job_can_be_read_on_the_way(two: Cluster) -> None:
    """Neither its data, nor its name, nor the secret of the cluster, in any packet between the boxes; what is said in
    the clear on the same cable is seen."""
    with np.load(two.daemon.root / "tutorial.npz") as arrays:
        np.savez(two.daemon.root / "other.npz", **arrays)
    file = write_job(two.daemon.root, "not-for-others", epochs=1, more="resources: {node: box2}\n")
    file.write_text(file.read_text().replace("tutorial.npz", "other.npz"))
    data = (two.daemon.root / "other.npz").read_bytes()
    with sniffed(two.boxes[0]) as seen:
        clear = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'said-in-the-clear', ('{}', 9))"
        two.boxes[1].run(sys.executable, "-c", clear.format(two.boxes[0].address))
        (job,) = two.until_ended(two.daemon.submit(file))
        assert (job["state"], job["node"]) == ("COMPLETED", "box2")
        eventually(lambda: b"said-in-the-clear" in seen.read_bytes(), 10, two.story)
    packets = seen.read_bytes()
    token = json.loads(two.token.read_text())
    middle = len(data) // 2
    for secret in (b"not-for-others", token["secret"].encode(), data[:60], data[middle : middle + 60]):
        assert secret not in packets, secret
    assert len(packets) > len(data)


def test_what_all_boxes_share_is_used_where_it_is(two: Cluster, lab: Path) -> None:
    """Data in place, in a file system that both see, binds no job to the head's box, and is not copied."""
    kept = set((two.nodes[0].state / "spool/data").glob("*/*"))
    with np.load(two.daemon.root / "tutorial.npz") as arrays:
        np.savez(lab / "placed.npz", x=2 * arrays["x"], y=arrays["y"])
    file = write_job(two.daemon.root, "placed", epochs=1)
    file.write_text(
        file.read_text().replace("tutorial.npz", f"{{path: {lab / 'placed.npz'}, in_place: true}}")
    )
    two.daemon.cli("drain", "box1:0", code=0)
    try:
        (job,) = two.until_ended(two.daemon.submit(file))
        assert (job["state"], job["node"]) == ("COMPLETED", "box2"), job
        assert set((two.nodes[0].state / "spool/data").glob("*/*")) == kept
    finally:
        two.daemon.cli("resume", "box1:0", code=0)


def test_nodes_are_listed_drained_and_not_removed_while_they_are_here(two: Cluster) -> None:
    listed = two.daemon.json("node", "list")
    assert [(node["name"], node["status"]) for node in listed] == [("box1", "ok"), ("box2", "ok")]
    assert "box2:" in two.daemon.cli("gpus", code=0).stdout
    assert "is a member now" in two.daemon.cli("node", "remove", "box2", code=2).stderr
    two.daemon.cli("node", "drain", "box2", "--reason", "fans", code=0)
    first, second = (two.daemon.submit_quick(f"d{number}", epochs=ENDLESS) for number in (1, 2))
    two.daemon.until(first, "RUNNING")
    assert two.daemon.job(second)["state"] == "PENDING", "its only other device is drained"
    two.daemon.cli("resume", "box2:0", code=0)
    assert two.daemon.until(second, "RUNNING")["node"] == "box2"
    two.daemon.cli("cancel", first, second, code=0)
    two.until_ended([first, second])
