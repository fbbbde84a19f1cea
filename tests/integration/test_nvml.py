"""What NVML says, as values: the real nvidia-ml-py against the fake library, each reading in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpujobs.node.probe import Probe, read_once
from gpujobs.protocol.reading import Reading
from tests.fake_nvml import GIB, FakeGpus, box, uuid

WITHOUT_A_LIBRARY = """
import sys
from pathlib import Path
from gpujobs.errors import DriverError
from gpujobs.nvml import NoDriverError, reading
reading.DRIVER_TRACES = (Path("/nowhere"), Path(sys.argv[1]))
try:
    reading.read()
except NoDriverError as error:
    print("no driver")
except DriverError as error:
    print("broken:", error)
"""


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpus:
    fake = box(tmp_path, 3)
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    return fake


@pytest.mark.parametrize("code", [15, 16, 999])
def test_a_device_that_fails_at_a_value_it_need_not_have_is_faulty(gpus: FakeGpus, code: int) -> None:
    gpus.extra = [f"error nvmlDeviceGetUtilizationRates {code}"]
    gpus.write()
    assert all(f"error {code}" in (device.fault or "") for device in read_once().devices)


def test_who_only_draws_is_seen_too(gpus: FakeGpus) -> None:
    gpus.processes = [(0, "G", os.getpid(), GIB)]
    gpus.write()
    assert [len(device.processes) for device in read_once().devices] == [1, 0, 0]


def test_what_the_driver_keeps_for_itself_is_not_in_use(gpus: FakeGpus) -> None:
    gpus.gpus[1].used_bytes = 2 * GIB
    gpus.write()
    assert [device.memory_used_bytes for device in read_once().devices] == [0, 2 * GIB, 0]


def test_mig_counts_as_it_is_now_and_not_as_it_will_be_after_a_reset(gpus: FakeGpus) -> None:
    gpus.extra = [f"mig 1 MIG-{number} {10 * GIB} 0" for number in (1, 2)]
    gpus.write()
    assert [device.uuid for device in read_once().devices] == [uuid(0), "MIG-1", "MIG-2", uuid(2)]


def test_what_an_instance_does_not_have_is_that_of_its_gpu(gpus: FakeGpus) -> None:
    gpus.extra = [f"mig 1 MIG-1 {10 * GIB} 0", "ecc 1 2"]
    gpus.write()
    instance = read_once().devices[1]
    assert (instance.uuid, instance.power_watts, instance.temperature_celsius) == ("MIG-1", 60.0, 35)
    assert instance.hardware_errors == ("2 uncorrected ECC errors since the driver was loaded",)


async def _after_a_failure(gpus: FakeGpus) -> tuple[Reading, Reading]:
    probe = Probe()
    await probe.read()
    gpus.extra = ["init 18"]
    gpus.write()
    failed = await probe.read()
    gpus.extra = []
    gpus.write()
    healthy = await probe.read()
    await probe.close()
    return failed, healthy


def test_a_driver_that_was_exchanged_is_found_without_a_restart(gpus: FakeGpus) -> None:
    """What has failed as a whole goes on failing until NVML is initialised anew."""
    failed, healthy = asyncio.run(_after_a_failure(gpus))
    assert failed.status == "failed" and "error 18" in failed.message
    assert (healthy.status, len(healthy.devices)) == ("ok", 3)


@pytest.mark.parametrize(
    ("trace", "said"), [("/dev/null", "broken: libnvidia-ml.so.1"), ("/nowhere", "no driver")]
)
def test_a_driver_without_its_library_is_broken_and_not_absent(trace: str, said: str) -> None:
    """Otherwise jobs would train on CPUs beside GPUs that idle."""
    environ = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_LIBRARY, trace],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    if not done.stdout:
        pytest.skip("this machine has the library of a driver")
    assert done.stdout.startswith(said)


XIDS_OF_THE_DEVICE = {48, 63, 64, 79, 94, 95, 119}
"""By the table of docs.nvidia.com/deploy/xid-errors; 13, 31, 43 and 45 are an application's."""


def test_these_xids_are_the_devices_fault_and_those_of_applications_are_not(gpus: FakeGpus) -> None:
    async def scenario() -> Reading:
        probe = Probe()
        await probe.read()
        gpus.extra = [f"xid 0 {code}" for code in range(1, 150)]
        gpus.write()
        reading = await probe.read()
        await probe.close()
        return reading

    told = asyncio.run(scenario()).devices[0].hardware_errors
    assert {int(error.split()[1].rstrip(":")) for error in told} == XIDS_OF_THE_DEVICE
    assert all(error.endswith("(once)") for error in told)


def test_a_gpus_energy_is_told_where_its_counter_is_and_is_no_instances(gpus: FakeGpus) -> None:
    gpus.extra = ["energy 0 1234567", "energy 1 1000", f"mig 1 MIG-1 {10 * GIB} 0"]
    gpus.write()
    assert [device.energy_joules for device in read_once().devices] == [1234.567, None, None]


def test_a_box_can_change_by_itself(gpus: FakeGpus) -> None:
    """For tests of what is sampled over time: of three values the second holds now, or the last one for ever."""
    now = time.time()
    for what, values in (
        ("utilization", (1, 20, 3)),
        ("power", (1000, 2000, 3000)),
        ("energy", (5000, 6000, 7000)),
    ):
        gpus.script(0, what, values, 3600, now - 5400)
        gpus.script(1, what, values, 3600, now - 3600_000)
    gpus.script(0, "used", (0, 5 * GIB), 3600, now - 5400)
    first, second, third = read_once().devices
    assert (first.utilization_percent, first.power_watts, first.energy_joules) == (20, 2.0, 6.0)
    assert first.memory_used_bytes == 5 * GIB
    assert (second.utilization_percent, second.power_watts, second.energy_joules) == (3, 3.0, 7.0)
    assert (third.utilization_percent, third.energy_joules) == (0, None)
