"""The probe through the real nvidia-ml-py, against the fake library."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from gpujobs.model import DeviceKind, DeviceState, NodeStatus, utc_now
from gpujobs.node import probe as probe_module
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import Probe, read_once
from gpujobs.policy import Snapshot, occupancies
from gpujobs.protocol.reading import Reading
from tests.fake_nvml import GIB, FakeGpus, box, uuid


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpus:
    fake = box(tmp_path, 4)
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    return fake


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this machine that NVML can be made to report."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_devices_as_nvml_has_them(gpus: FakeGpus) -> None:
    gpus.gpus[2].used_bytes = 3 * GIB
    gpus.gpus[2].utilization_percent = 97
    gpus.write()
    reading = read_once()
    assert (reading.status, reading.message) == ("ok", "")
    assert [device.uuid for device in reading.devices] == [uuid(i) for i in range(4)]
    third = reading.devices[2]
    assert (third.kind, third.index, third.name) == (DeviceKind.GPU, 2, "NVIDIA H200 (fake)")
    assert (third.memory_total_bytes, third.memory_used_bytes) == (80 * GIB, 3 * GIB)
    assert (third.utilization_percent, third.temperature_celsius, third.power_watts) == (97, 35, 60.0)


def test_a_process_is_shown_with_its_owner_and_command(
    gpus: FakeGpus, stranger: subprocess.Popen[bytes]
) -> None:
    gpus.processes = [
        (1, "C", stranger.pid, 5 * GIB),
        (1, "G", stranger.pid, 1),
        (3, "M", stranger.pid, None),
    ]
    gpus.write()
    devices = read_once().devices
    (found,) = devices[1].processes
    assert (found.pid, found.memory_bytes, found.kind) == (stranger.pid, 5 * GIB, "compute")
    assert (found.user, found.command) == (psutil.Process().username(), "sleep 1000")
    assert found.since == psutil.Process(stranger.pid).create_time()
    (hidden,) = devices[3].processes
    assert (hidden.memory_bytes, hidden.kind) == (None, "mps")
    (node,) = [devices_of(read_once(), "n", None)]
    states = [view.state for view in occupancies(Snapshot(utc_now(), (), [node], ()))]
    assert states == [DeviceState.FREE, DeviceState.FOREIGN, DeviceState.FREE, DeviceState.FOREIGN]


def test_a_process_that_vanished_has_no_owner(gpus: FakeGpus) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    gpus.processes = [(0, "C", gone.pid, 1)]
    gpus.write()
    (found,) = read_once().devices[0].processes
    assert (found.pid, found.user, found.command) == (gone.pid, None, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_the_owner_is_the_processes_user(gpus: FakeGpus) -> None:
    process = subprocess.Popen(["sleep", "1000"], user="nobody")
    try:
        gpus.processes = [(0, "C", process.pid, 1)]
        gpus.write()
        assert read_once().devices[0].processes[0].user == "nobody"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (9, "kernel module is not loaded"),
        (18, "driver was updated while it was in use"),
        (17, "operating system blocks"),
        (4, "may not ask the driver"),
        (10, "did not answer in time"),
        (999, "internal error of the driver"),
    ],
)
def test_a_driver_that_fails_gives_no_device_and_says_what_to_do(
    gpus: FakeGpus, code: int, advice: str
) -> None:
    gpus.extra = [f"init {code}"]
    gpus.write()
    reading = read_once()
    assert reading.status == "failed"
    assert advice in reading.message and f"error {code}" in reading.message
    node = devices_of(reading, "n", 2)
    assert (node.status, node.devices) == (NodeStatus.DRIVER_ERROR, ())


@pytest.mark.parametrize(
    ("code", "advice"), [(15, "fallen off the bus"), (16, "needs a reset"), (999, "internal")]
)
def test_one_bad_device_leaves_the_others(gpus: FakeGpus, code: int, advice: str) -> None:
    gpus.gpus[1].error = code
    gpus.write()
    devices = read_once().devices
    assert [device.fault is None for device in devices] == [True, False, True, True]
    assert advice in (devices[1].fault or "")
    (node,) = [devices_of(read_once(), "n", None)]
    assert occupancies(Snapshot(utc_now(), (), [node], ()))[1].state is DeviceState.LOST


def test_a_value_that_is_not_supported_is_none(gpus: FakeGpus) -> None:
    gpus.gpus[0].utilization_percent = gpus.gpus[0].power_milliwatts = gpus.gpus[0].temperature_celsius = -1
    gpus.extra = ["error nvmlDeviceGetMPSComputeRunningProcesses_v3 3", "error nvmlDeviceGetMemoryInfo_v2 3"]
    gpus.write()
    first = read_once().devices[0]
    assert (first.utilization_percent, first.power_watts, first.temperature_celsius) == (None, None, None)
    assert first.fault is None and first.memory_total_bytes == 80 * GIB


def test_mig_instances_take_the_place_of_their_gpu(gpus: FakeGpus) -> None:
    gpus.extra = [f"mig 1 MIG-{number} {10 * GIB} 0" for number in (1, 2)]
    gpus.processes = [(5, "C", os.getpid(), GIB)]
    gpus.write()
    devices = read_once().devices
    assert [d.uuid for d in devices] == [uuid(0), "MIG-1", "MIG-2", uuid(2), uuid(3)]
    assert [d.memory_total_bytes for d in devices[1:3]] == [10 * GIB, 10 * GIB]
    assert [len(d.processes) for d in devices] == [0, 0, 1, 0, 0]


def test_no_library_means_cpu_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    reading = read_once()
    if reading.status != "no_driver":
        pytest.skip("this machine has an NVIDIA driver")
    node = devices_of(reading, "n", 3)
    assert node.status is NodeStatus.OK
    assert [device.uuid for device in node.devices] == ["CPU-n-0", "CPU-n-1", "CPU-n-2"]
    assert "no NVIDIA driver" in node.message


def test_sixteen_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = box(tmp_path, 16)
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    assert [device.index for device in read_once().devices] == list(range(16))


def test_a_hanging_call_is_given_up(gpus: FakeGpus) -> None:
    gpus.extra = ["hang"]
    gpus.write()
    began = time.monotonic()
    reading = read_once(0.5)
    assert reading.status == "failed" and "did not answer within 0.5 s" in reading.message
    assert time.monotonic() - began < 4


def test_a_probe_that_starts_slowly_has_its_whole_time_for_the_answer(
    gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is overloaded Python alone takes longer to start than the driver may take to answer."""

    async def scenario() -> Reading:
        probe = Probe()
        try:
            return await probe.read(1.0)
        finally:
            await probe.close()

    gpus.write()
    monkeypatch.setattr(
        probe_module, "COMMAND", ("sh", "-c", 'sleep 1.2; exec "$@"', "sh", *probe_module.COMMAND)
    )
    assert [read_once(1.0).status, asyncio.run(scenario()).status] == ["ok", "ok"]


def test_a_probe_that_cannot_start_says_so(gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> Reading:
        return await Probe().read()

    monkeypatch.setattr(probe_module, "COMMAND", ("sh", "-c", "exit 3"))
    assert "ended with status 3" in asyncio.run(scenario()).message
    monkeypatch.setattr(probe_module, "COMMAND", ("sh", "-c", "exec sleep 30"))
    monkeypatch.setattr(probe_module, "START_SECONDS", 0.3)
    assert "has not started within 0.3 s" in read_once().message
    assert "has not started within 0.3 s" in asyncio.run(scenario()).message


NOISY = "import os, runpy; print('a module of the site says hello'); os.write(1, b'and so does another\\n'); "
SAID_IN_BETWEEN = (
    "from gpujobs import nvml; real = nvml.read; "
    "nvml.read = lambda: (os.write(1, b'{}\\n'), print('loaded'), real())[2]; "
)


@pytest.mark.parametrize("noise", [NOISY, NOISY + SAID_IN_BETWEEN])
def test_what_others_print_is_no_answer(gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch, noise: str) -> None:
    """Each reading is of now, not the one that was asked for before."""
    run = noise + "from gpujobs.node import probe; probe.main()"
    monkeypatch.setattr(probe_module, "COMMAND", (sys.executable, "-P", "-c", run))

    async def scenario() -> list[Reading]:
        probe, found = Probe(), list[Reading]()
        for gibibytes in (1, 2):
            gpus.gpus[0].used_bytes = gibibytes * GIB
            gpus.write()
            found.append(await probe.read())
        await probe.close()
        return found

    gpus.write()
    assert read_once().status == "ok"
    first, second = asyncio.run(scenario())
    used = [one.devices[0].memory_used_bytes for one in (first, second)]
    assert (first.message, second.message, used) == ("", "", [GIB, 2 * GIB])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo ready; read q; echo garbage; exec sleep 30", "it says b'garbage"),
        ("echo ready; read q; head -c 20000000 /dev/zero; exec sleep 30", "the probe of NVML failed"),
        ("head -c 20000000 /dev/zero; exec sleep 30", "it says too much"),
        ("echo ready; exit 4", "it ended with status 4"),
        ("exit 5", "it ended with status 5"),
    ],
)
def test_a_probe_that_makes_no_sense_is_given_up_and_another_asked(
    gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    async def scenario() -> list[Reading]:
        probe = Probe()
        with monkeypatch.context() as patch:
            patch.setattr(probe_module, "COMMAND", ("bash", "-c", script))
            found = [await probe.read()]
        found.append(await probe.read())
        await probe.close()
        return found

    gpus.write()
    senseless, next_one = asyncio.run(scenario())
    assert said in senseless.message and "gpujobs.node.probe` may say why" in senseless.message
    assert next_one.status == "ok"


@pytest.mark.parametrize("script", ["printf 'no line'; exec sleep 30", "exec >&-; exec sleep 30"])
def test_a_look_at_a_probe_that_never_says_that_it_is_ready_ends(
    gpus: FakeGpus, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(probe_module, "COMMAND", ("bash", "-c", script))
    monkeypatch.setattr(probe_module, "START_SECONDS", 0.3)
    began = time.monotonic()
    assert "has not started within 0.3 s" in read_once(0.3).message
    assert time.monotonic() - began < 4


def test_a_look_works_beside_very_many_descriptors(gpus: FakeGpus) -> None:
    """As in a daemon of many boxes."""
    gpus.write()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this process may not have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        assert read_once().status == "ok"
    finally:
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_kept_probe_sees_changes_and_recovers_from_a_hang(gpus: FakeGpus) -> None:
    async def scenario() -> list[Reading]:
        probe = Probe()
        readings = [await probe.read()]
        gpus.gpus[0].used_bytes = GIB
        gpus.write()
        readings += await asyncio.gather(probe.read(), probe.read())
        gpus.extra = ["hang"]
        gpus.write()
        readings.append(await probe.read(0.5))
        gpus.extra = ["init 18"]
        gpus.write()
        readings.append(await probe.read())
        gpus.extra = []
        gpus.write()
        readings.append(await probe.read())
        await probe.close()
        return readings

    first, second, shared, hung, mismatch, healthy = asyncio.run(scenario())
    assert first.devices[0].memory_used_bytes == 0
    assert second.devices[0].memory_used_bytes == GIB
    assert shared is second
    assert "did not answer" in hung.message
    assert "updated while it was in use" in mismatch.message
    assert healthy == second == replace(second)


def test_fatal_xids_are_kept_and_those_of_applications_are_not(gpus: FakeGpus) -> None:
    async def scenario() -> list[Reading]:
        probe, readings = Probe(), []
        for told in (["xid 0 79"], ["xid 2 79", "xid 1 13"], ["xid 2 79", "xid 2 48"], []):
            gpus.extra += told
            gpus.write()
            readings.append(await probe.read())
        await probe.close()
        return readings

    readings = asyncio.run(scenario())
    assert all(not device.hardware_errors for device in readings[0].devices), "before anybody listened"
    once = ("XID 79: the GPU has fallen off the bus (once)",)
    assert [device.hardware_errors for device in readings[1].devices] == [(), (), once, ()]
    again = ("XID 48: double-bit ECC error (once)", "XID 79: the GPU has fallen off the bus (2 times)")
    assert readings[2].devices[2].hardware_errors == readings[3].devices[2].hardware_errors == again


def test_memory_errors_are_told(gpus: FakeGpus) -> None:
    gpus.extra = ["ecc 0 3", "rows 1"]
    gpus.write()
    found = [device.hardware_errors for device in read_once().devices]
    assert found[0] == ("3 uncorrected ECC errors since the driver was loaded",)
    assert found[1] == ("a row of its memory could not be remapped",)
    assert found[2:] == [(), ()]


def test_events_that_nvml_does_not_give_are_no_fault(gpus: FakeGpus) -> None:
    gpus.extra = [
        "error nvmlDeviceRegisterEvents 3",
        "error nvmlEventSetCreate 3",
        "error nvmlDeviceGetRemappedRows 3",
    ]
    gpus.write()
    assert all(device.fault is None and not device.hardware_errors for device in read_once().devices)
