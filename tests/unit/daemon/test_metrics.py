"""What Prometheus is told of the devices: base units, parts from 0 to 1, and nothing where nothing is known."""

from __future__ import annotations

import pytest

from gpujobs.daemon.web.metrics import _devices, _wants_plain
from gpujobs.model import Device, DeviceKind, DeviceState, Process
from gpujobs.policy import Occupancy

GIB = 1 << 30
KNOWN = Device(
    "box", DeviceKind.GPU, 1, "GPU-1", "gpu", 80 * GIB, 3 * GIB, utilization_percent=50, temperature_celsius=61,
    power_watts=250.5,
)  # fmt: skip
UNKNOWN = Device("box", DeviceKind.CPU, 0, "CPU-0", "cpu")


def test_devices_are_told_in_base_units_as_far_as_they_are_known() -> None:
    strangers = (Process(7, "bob", None, "python"), Process(8, "bob", GIB, "python"))
    views = [
        Occupancy(KNOWN, DeviceState.FOREIGN, (), strangers),
        Occupancy(UNKNOWN, DeviceState.BUSY, (3, 4), ()),
    ]
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in _devices(views)
        for sample in metric.samples
    }
    assert found == {
        ("gpujobs_device_memory_bytes", "box", "gpu1"): 80 * GIB,
        ("gpujobs_device_memory_used_bytes", "box", "gpu1"): 3 * GIB,
        ("gpujobs_device_utilization_ratio", "box", "gpu1"): 0.5,
        ("gpujobs_device_temperature_celsius", "box", "gpu1"): 61,
        ("gpujobs_device_power_watts", "box", "gpu1"): 250.5,
        ("gpujobs_device_state", "box", "gpu1", "foreign"): 1.0,
        ("gpujobs_device_state", "box", "cpu0", "busy"): 1.0,
        ("gpujobs_device_jobs", "box", "gpu1"): 0.0,
        ("gpujobs_device_jobs", "box", "cpu0"): 2.0,
        ("gpujobs_device_foreign_processes", "box", "gpu1"): 2.0,
        ("gpujobs_device_foreign_processes", "box", "cpu0"): 0.0,
    }


@pytest.mark.parametrize(
    ("accept", "is_plain"),
    [
        (None, False),
        ("*/*", True),
        ("text/plain", True),
        ("application/openmetrics-text;version=1.0.0", False),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(accept: str | None, is_plain: bool) -> None:
    assert _wants_plain(accept) is is_plain
