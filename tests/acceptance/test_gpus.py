"""A box of four GPUs, as the fake NVML library shows it: who is on a device, and what is started where."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.fake_nvml import GIB, FakeGpu, FakeGpus, box, uuid

from .conftest import running
from .harness import (
    ENDLESS,
    RunningDaemon,
    environment_of,
    eventually,
    is_alive,
    processes_of,
    short_directory,
    write_job,
)

FOREIGN = 1
"""The number of the device that somebody else uses."""

INIT_ERRORS = (4, 9, 18, 999)
"""No permission, driver not loaded, library of another version than the driver's, unknown."""


@pytest.fixture(scope="module")
def library() -> Iterator[FakeGpus]:
    directory = short_directory()
    yield box(directory, 4)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.fixture(scope="module")
def daemon(library: FakeGpus) -> Iterator[RunningDaemon]:
    with running(environment={**library.environment, "GPUJOBS_REQUIRE_GPU": "0"}) as daemon:
        yield daemon


@pytest.fixture
def gpus(library: FakeGpus) -> Iterator[FakeGpus]:
    """The box, idle at the end as at the start."""
    yield library
    library.gpus = [FakeGpu(uuid(index)) for index in range(4)]
    library.processes, library.extra = [], []
    library.write()


@dataclass
class Foreign:
    """A process of somebody else's that uses a GPU, as far as NVML can tell."""

    process: subprocess.Popen[bytes]
    gpus: FakeGpus
    user: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.gpus.processes = []
        self.gpus.gpus[FOREIGN].used_bytes = 0
        self.gpus.write()


@pytest.fixture
def foreign(gpus: FakeGpus) -> Iterator[Foreign]:
    is_root = os.geteuid() == 0
    with subprocess.Popen(["sleep", "86400"], user="nobody" if is_root else None) as process:
        gpus.processes = [(FOREIGN, "C", process.pid, 30 * GIB)]
        gpus.gpus[FOREIGN].used_bytes = 31 * GIB
        gpus.write()
        yield Foreign(process, gpus, "nobody" if is_root else os.environ.get("USER", ""))
        process.kill()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "86400"]) as process:
        yield process
        process.kill()


def device(daemon: RunningDaemon, index: int) -> dict[str, Any]:
    (found,) = [device for device in daemon.json("gpus") if device["index"] == index]
    return dict(found)


def asks_for(index: int) -> str:
    return f"resources: {{gpu: {index}}}\n"


def finish(daemon: RunningDaemon, *jobs: int) -> None:
    daemon.cli("cancel", *jobs, code=0)
    for job in jobs:
        daemon.until(job, "CANCELLED")


def visible_devices(daemon: RunningDaemon) -> dict[int, str]:
    """pid and CUDA_VISIBLE_DEVICES of the trainers that live: the kernel's word, not the daemon's."""
    found = {}
    for pid, command in processes_of(daemon.state).items():
        if command.startswith("gpujobs trainer:"):
            try:
                found[pid] = environment_of(pid).get("CUDA_VISIBLE_DEVICES", "")
            except OSError:
                continue
    return {pid: visible for pid, visible in found.items() if visible and is_alive(pid)}


# Who gets which device


def test_eight_jobs_on_four_devices_of_which_one_is_foreign(daemon: RunningDaemon, foreign: Foreign) -> None:
    files = [write_job(daemon.root, f"one-of-eight-{number}", epochs=100) for number in range(8)]
    jobs = daemon.submit(*files)
    waited = 0
    while states_of(found := list(map(daemon.job, jobs))) != {"COMPLETED"}:
        assert not states_of(found) & {"FAILED", "CANCELLED"}, daemon.story(jobs)
        visible = visible_devices(daemon)
        assert len(set(visible.values())) == len(visible), visible
        assert uuid(FOREIGN) not in visible.values()
        waited = max(waited, assert_reasons(found, foreign.pid))
    assert waited == 5
    shown = [daemon.show(job) for job in jobs]
    assert assert_one_at_a_time(shown) == {uuid(0), uuid(2), uuid(3)}
    assert most_at_once(shown) == 3, "the three free devices were never in use together"


def states_of(jobs: list[dict[str, Any]]) -> set[str]:
    return {job["state"] for job in jobs}


def assert_reasons(jobs: list[dict[str, Any]], pid: int) -> int:
    """Each waiting job says why: the first names who is on the devices, the others who is ahead of them."""
    waiting = [job for job in jobs if job["state"] == "PENDING" and job["reason"]]
    if any("the next decision" in job["message"] for job in waiting):  # which some have not had yet
        return 0
    for job in waiting:
        if job["reason"] == "Resources":
            assert f"GPU {FOREIGN} is used by pid {pid}" in job["message"], job
            assert re.search(r"(by|to) jobs? \d", job["message"]), job
        else:
            assert job["reason"] == "Priority" and "ahead" in job["message"], job
    return len(waiting)


def assert_one_at_a_time(shown: list[dict[str, Any]]) -> set[str]:
    """By the attempts, and by the events: from STARTING until the trainer's end. Returns the devices."""
    spans: dict[str, list[tuple[str, str]]] = {}
    for job in shown:
        (attempt,) = job["attempts"]
        at = {event["to"]: event["at"] for event in job["events"] if event["to"]}
        assert at["STARTING"] <= at["RUNNING"] <= at["COMPLETING"]
        begun = min(attempt["started_at"], at["STARTING"])
        spans.setdefault(attempt["device"]["uuid"], []).append((begun, attempt["ended_at"]))
    for device, used in spans.items():
        for (_, end), (start, _) in pairwise(sorted(used)):
            assert end <= start, f"two jobs at once on {device}: {used}"
    return set(spans)


def most_at_once(shown: list[dict[str, Any]]) -> int:
    attempts = [job["attempts"][0] for job in shown]
    return max(
        sum(one["started_at"] <= other["started_at"] < one["ended_at"] for one in attempts)
        for other in attempts
    )


def test_a_trainer_sees_exactly_one_device_by_its_uuid(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    job = daemon.submit_quick("sees-one", epochs=ENDLESS, more=asks_for(2))
    found = daemon.until_epoch(job, 1)
    environment = environment_of(found["pid"])
    assert environment["CUDA_VISIBLE_DEVICES"] == uuid(2) == found["device"]["uuid"]
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert (device(daemon, 2)["state"], device(daemon, 2)["jobs"]) == ("busy", [job])
    finish(daemon, job)


def test_the_log_names_every_gpu_and_the_visible_one(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    job = daemon.submit_quick("names", more=asks_for(3))
    daemon.until(job, "COMPLETED")
    log = daemon.job_log(job)
    assert all(f"GPU {index}" in log for index in range(4)), log
    (visible,) = [line for line in log.splitlines() if line.startswith("Visible to this job: ")]
    assert "GPU 3" in visible


# Foreign processes


def test_gpus_names_the_foreign_process(daemon: RunningDaemon, foreign: Foreign) -> None:
    found = device(daemon, FOREIGN)
    assert (found["state"], found["jobs"], found["uuid"]) == ("foreign", [], uuid(FOREIGN))
    assert found["memory_used_bytes"] == 31 * GIB
    (process,) = found["foreign"]
    assert (process["pid"], process["command"]) == (foreign.pid, "sleep 86400")
    assert process["memory_bytes"] == 30 * GIB
    assert process["user"] == foreign.user
    text = daemon.cli("gpus", code=0).stdout
    shown = rf"foreign: {foreign.user} pid {foreign.pid} 30\.0 GiB for \d+:\d\d sleep 86400"
    assert re.search(shown, text), text


def test_a_device_is_used_when_its_foreign_process_ends(daemon: RunningDaemon, foreign: Foreign) -> None:
    job = daemon.submit_quick("patient", more=asks_for(FOREIGN))
    waits = eventually(lambda: (found := daemon.job(job))["reason"] == "ForeignProcess" and found, 10)
    assert (waits["state"], waits["reason"]) == ("PENDING", "ForeignProcess")
    assert f"pid {foreign.pid} of {foreign.user}" in waits["message"]
    foreign.end()
    assert daemon.until(job, "COMPLETED")["attempt"] == 1
    assert daemon.show(job)["attempts"][0]["device"]["uuid"] == uuid(FOREIGN)


def test_a_job_that_meets_a_stranger_goes_back_and_loses_no_retry(
    daemon: RunningDaemon, gpus: FakeGpus, stranger: subprocess.Popen[bytes]
) -> None:
    """Between the probe and the trainer's start somebody was faster."""
    job = daemon.submit_quick("meets", "--retries", 0, epochs=ENDLESS, more=asks_for(0))
    daemon.until(job, "STARTING", "RUNNING")
    gpus.processes = [(0, "C", stranger.pid, GIB)]
    gpus.write()
    eventually(lambda: daemon.job(job)["reason"] == "ForeignProcess", 30, lambda: daemon.story([job]))
    events = [event["message"] for event in daemon.show(job)["events"]]
    assert any(f"it met pid {stranger.pid}" in message for message in events), events
    gpus.processes = []
    gpus.write()
    assert daemon.until(job, "RUNNING")["attempt"] == 2
    finish(daemon, job)


def test_memory_in_use_by_nobody_visible_is_not_free(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    """Containers and driver limits hide processes."""
    gpus.gpus[0].used_bytes = 20 * GIB
    gpus.write()
    job = daemon.submit_quick("hidden", more=asks_for(0))
    waits = eventually(lambda: (found := daemon.job(job))["reason"] == "ForeignProcess" and found, 10)
    assert (waits["reason"], waits["attempt"]) == ("ForeignProcess", 0)
    assert "20.0 GiB in use by a process that the driver does not show" in waits["message"]
    assert (device(daemon, 0)["state"], device(daemon, 0)["foreign"]) == ("foreign", [])
    gpus.gpus[0].used_bytes = 0
    gpus.write()
    daemon.until(job, "COMPLETED")


def test_a_trainer_of_ours_is_not_foreign(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    gpus.gpus[0].trainer_bytes, gpus.gpus[0].used_bytes = 2 * GIB, 2 * GIB
    job = daemon.submit_quick("ours", "--hold", epochs=ENDLESS, more=asks_for(0))
    gpus.gpus[0].used_bytes = 0
    gpus.write()
    daemon.cli("release", job, code=0)
    daemon.until_epoch(job, 1)
    found = device(daemon, 0)
    assert (found["state"], found["jobs"], found["foreign"]) == ("busy", [job], [])
    finish(daemon, job)


def test_a_job_is_told_what_it_made_of_its_device_and_what_to_do_about_it(
    daemon: RunningDaemon, gpus: FakeGpus
) -> None:
    """By `run`, `show`, metrics.json and the report, of a device that the test makes up as it goes."""
    gpu = gpus.gpus[0]
    gpu.utilization_percent, gpu.trainer_bytes = 29, 2 * GIB
    now = time.time()
    gpus.script(0, "energy", range(0, 100_000_000, 100_000), 1.0, now - 1)
    path = write_job(daemon.root, "made-of-it", epochs=ENDLESS, units=4, batch_size=2, more=asks_for(0))
    with daemon.popen("run", path) as run:
        (job,) = eventually(
            lambda: [one["id"] for one in daemon.get("/v1/jobs")["jobs"] if one["name"] == "made-of-it"]
        )
        eventually(lambda: (daemon.show(job)["device_use"] or {}).get("sampled_seconds", 0) > 10.5)
        daemon.cli("finish", job, code=0)
        said = run.communicate()[0]
    found = daemon.show(job)["device_use"]
    metrics = json.loads((daemon.state / "results" / str(job) / "metrics.json").read_text())
    assert metrics["device"] == found and metrics["train_seconds"] > 0
    assert found["load"] == 0.29 and found["idle"] == 0.71 and found["others"] == 0.0
    assert (found["memory_peak_bytes"], found["memory_reserved_bytes"]) == (2 * GIB, 80 * GIB)
    assert found["energy_by"] == "counter" and found["energy_joules"] == pytest.approx(
        100 * found["sampled_seconds"], rel=0.25
    )
    assert 100 << 20 < found["host_memory_peak_bytes"] < 8 * GIB and found["cpu_seconds"] > 1
    assert 0 <= found["data_share"] <= 1
    assert "the batches of 2 are small for it: training.batch_size: 4 " in found["advice"]
    shown = " ".join(daemon.cli("show", job, code=0).stdout.split())
    for text in (shown, " ".join(said.split())):
        assert found["line"] in text and f"Advice: {found['advice']}." in text
    since = daemon.job(job)["submitted_at"]
    report = daemon.cli("report", "--idle", "--since", since, code=0).stdout
    assert max(map(len, report.splitlines())) <= 80 and " 29%" in report and "kJ" in report


# A driver that fails


@pytest.mark.parametrize("code", INIT_ERRORS)
def test_a_driver_that_fails_starts_nothing_and_says_so(
    daemon: RunningDaemon, gpus: FakeGpus, code: int
) -> None:
    gpus.extra = [f"init {code}"]
    gpus.write()
    job = daemon.submit_quick("no-driver")
    eventually(lambda: daemon.job(job)["reason"] == "DriverError", 10, lambda: daemon.story([job]))
    waits = daemon.job(job)
    assert (waits["state"], waits["attempt"]) == ("PENDING", 0)
    assert f"(error {code})" in waits["message"]
    assert "DriverError" in daemon.cli("status", code=0).stdout
    for arguments in (("gpus",), ("gpus", "--json")):
        said = daemon.cli(*arguments, code=4).stderr
        assert said.startswith("gpujobs: ") and f"(error {code})" in said, said
    doctor = daemon.cli("doctor", code=4).stdout
    assert [line for line in doctor.splitlines() if line.startswith("FAIL") and f"(error {code})" in line]
    gpus.extra = []
    gpus.write()
    assert daemon.until(job, "COMPLETED")["attempt"] == 1


def test_a_driver_that_hangs_starts_nothing_and_says_so(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    gpus.extra = ["hang"]
    gpus.write()
    job = daemon.submit_quick("hangs")
    eventually(lambda: daemon.job(job)["reason"] == "DriverError", 30, lambda: daemon.story([job]))
    assert "did not answer within" in daemon.job(job)["message"]
    gpus.extra = []
    gpus.write()
    daemon.until(job, "COMPLETED")


def test_a_running_job_survives_a_driver_that_does_not_answer(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    """The library was updated under it: what runs goes on, nothing new is started."""
    job = daemon.submit_quick("goes-on", epochs=ENDLESS)
    pid = daemon.until_epoch(job, 1)["pid"]
    gpus.extra = ["init 18"]
    gpus.write()
    later = daemon.submit_quick("later")
    eventually(lambda: daemon.job(later)["reason"] == "DriverError", 10, lambda: daemon.story([later]))
    assert (daemon.job(job)["state"], daemon.job(job)["pid"]) == ("RUNNING", pid)
    gpus.extra = []
    gpus.write()
    daemon.until(later, "COMPLETED")
    finish(daemon, job)


def test_a_device_is_lost_while_a_job_waits_for_it(daemon: RunningDaemon, foreign: Foreign) -> None:
    job = daemon.submit_quick("lost", more=asks_for(FOREIGN))
    eventually(lambda: daemon.job(job)["reason"] == "ForeignProcess", 10)
    foreign.gpus.gpus[FOREIGN].error = 15
    foreign.gpus.write()
    eventually(lambda: daemon.job(job)["reason"] == "DeviceUnavailable", 15, lambda: daemon.story([job]))
    assert f"GPU {FOREIGN}: " in daemon.job(job)["message"]
    assert "(error 15)" in daemon.job(job)["message"]
    assert [device(daemon, index)["state"] for index in range(4)] == ["free", "lost", "free", "free"]
    other = daemon.submit_quick("elsewhere")
    daemon.until(other, "COMPLETED")
    foreign.gpus.gpus[FOREIGN].error = 0
    foreign.end()
    eventually(lambda: "is drained: " in daemon.job(job)["message"], 10, lambda: daemon.story([job]))
    assert device(daemon, FOREIGN)["state"] == "drained", "it answers again, and somebody has to look at it"
    daemon.cli("resume", FOREIGN, code=0)
    daemon.until(job, "COMPLETED")


# Draining


def test_a_drained_device_gets_nothing_new_and_what_runs_goes_on(
    daemon: RunningDaemon, gpus: FakeGpus
) -> None:
    running = daemon.submit_quick("runs-on", epochs=ENDLESS, more=asks_for(2))
    daemon.until_epoch(running, 1)
    daemon.cli("drain", 2, "--reason", "its fan is loud", code=0)
    waits = daemon.submit_quick("waits", more=asks_for(2))
    finish(daemon, running)
    eventually(lambda: "is drained: its fan is loud" in daemon.job(waits)["message"], 10)
    assert daemon.job(waits)["reason"] == "DeviceUnavailable"
    shown = daemon.cli("gpus", 2, code=0).stdout
    assert "drained" in shown and "drained by root: its fan is loud" in shown, shown
    daemon.cli("resume", uuid(2), code=0)
    assert daemon.until(waits, "COMPLETED")["device"]["index"] == 2


def test_a_fatal_xid_drains_the_device_until_it_is_resumed(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    assert device(daemon, 3)["state"] == "free"
    gpus.extra = ["xid 3 79"]
    gpus.write()
    found = device(daemon, 3)
    assert found["state"] == "drained" and "XID 79: the GPU has fallen off the bus" in found["message"]
    job = daemon.submit_quick("not-there", more=asks_for(3))
    eventually(lambda: "XID 79" in daemon.job(job)["message"], 10)
    daemon.cli("resume", 3, code=0)
    daemon.until(job, "COMPLETED")


def test_a_device_that_does_not_exist_cannot_be_drained(daemon: RunningDaemon, gpus: FakeGpus) -> None:
    said = daemon.cli("drain", 9, code=2).stderr
    assert "device 9 does not exist; expected one of 0, 1, 2, 3" in said


def test_a_gpu_that_does_not_exist_is_refused(daemon: RunningDaemon, gpus: FakeGpus) -> None:

    refused = daemon.cli("submit", write_job(daemon.root, "ninth", more=asks_for(9)), code=2)
    assert "GPU 9: this box has 0 to 3" in refused.stderr


# A daemon that meets a driver that fails


def test_run_does_not_wait_for_a_driver_that_fails(tmp_path: Path) -> None:
    """Nobody is at hand to mend it within this run: it ends, with what is wrong, and starts nothing."""
    gpus = box(tmp_path, 4)
    gpus.extra = ["init 18"]
    gpus.write()
    root = short_directory()
    daemon = RunningDaemon(root, environment=gpus.environment)
    path = write_job(root)
    said = daemon.cli("run", path, code=4).stderr
    daemon.stop()
    assert "(error 18)" in said
    assert not (daemon.paths.spool / "jobs/1").exists()
    shutil.rmtree(root)


# For people


def test_the_table_fits_80_columns(daemon: RunningDaemon, foreign: Foreign) -> None:
    foreign.gpus.gpus[0].name = "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"
    foreign.gpus.gpus[0].utilization_percent = 100
    foreign.gpus.gpus[3].error = 15
    foreign.gpus.write()
    lines = daemon.cli("gpus", code=0).stdout.splitlines()
    assert max(map(len, lines)) <= 80, "\n".join(lines)
    assert lines[0].split() == ["DEVICE", "NAME", "STATE", "MEMORY", "LOAD", "TEMP", "JOBS"]
    rows = [line for line in lines if line.startswith("gpu")]
    states = [word for line in rows for word in line.split() if word in ("free", "foreign", "lost")]
    assert states == ["free", "foreign", "free", "lost"], "\n".join(lines)
