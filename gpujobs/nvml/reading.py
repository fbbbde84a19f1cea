"""What NVML says of the GPUs of this machine.

Everything is read in one pass and returned as values. A value that the driver does not give is None;
a device that answers with an error keeps its place with a `fault`; a library that fails as a whole
raises DriverError. `nvidia-smi --query-gpu=uuid,name,memory.total,memory.used,utilization.gpu,
temperature.gpu,power.draw --format=csv` and `--query-compute-apps=gpu_uuid,pid,used_memory` show the same;
the energy is what `dcgmi dmon -e 156` shows.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pynvml

from gpujobs.errors import DriverError
from gpujobs.model import Device, DeviceKind, Process
from gpujobs.nvml import health
from gpujobs.nvml.answers import explain, optional

DRIVER_TRACES = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"))
"""Where one of these exists, a kernel driver is loaded, and a missing library is a broken installation."""

LASTING_FAULTS = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
"""After these somebody has to look at the machine, though the device may answer again later."""

_state = {"initialised": False}

_last_uuid: dict[int, str] = {}
"""By index: a lost GPU does not tell its UUID any more."""


class NoDriverError(Exception):
    """There is no NVIDIA driver on this machine: no library and no trace of a kernel module."""


def read(node: str = "") -> tuple[Device, ...]:
    """Every GPU, in PCI bus order, and each MIG instance in place of a GPU that is cut into them.

    Raises NoDriverError, or DriverError where there is a driver that fails.
    """
    try:
        _initialise()
        health.take_events()
        devices: list[Device] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            devices += _gpu(node, index)
        return tuple(devices)
    except pynvml.NVMLError as error:
        shutdown()
        raise DriverError(f"NVML: {explain(error)}") from error


def shutdown() -> None:
    """The next read initialises anew, and so finds a recovered or exchanged driver."""
    if _state["initialised"]:
        _state["initialised"] = False
        health.forget()
        optional(pynvml.nvmlShutdown)


def _initialise() -> None:
    if _state["initialised"]:
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        traces = [str(path) for path in DRIVER_TRACES if os.path.lexists(path)]
        if not traces:
            raise NoDriverError("no NVIDIA driver is installed") from None
        raise DriverError(
            f"libnvidia-ml.so.1 cannot be loaded, though {traces[0]} shows that a driver is; "
            "install the library of the driver's version"
        ) from None
    _state["initialised"] = True


def _gpu(node: str, index: int) -> list[Device]:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        instances = _mig_handles(handle)
        if instances:
            return [_device(node, index, instance, handle) for instance in instances]
        device = _device(node, index, handle, handle)
        _last_uuid[index] = device.uuid
        return [device]
    except pynvml.NVMLError as error:
        return [_faulty(node, index, error)]


def _mig_handles(handle: Any) -> list[Any]:
    """The MIG instances of a GPU, none where MIG is off or unknown to it. `nvidia-smi -L` lists them."""
    mode = optional(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return []
    found = (
        optional(partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number))
        for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    )
    return [instance for instance in found if instance is not None]


def _device(node: str, index: int, handle: Any, parent: Any) -> Device:
    """`handle` is the GPU or its MIG instance; what a MIG instance does not have is asked of the `parent`."""
    memory = _memory(handle)
    utilization = optional(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    power = optional(lambda: pynvml.nvmlDeviceGetPowerUsage(parent))
    # Not of the parent: an instance is not to be told the energy of all of them.
    millijoules = optional(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    return Device(
        node=node,
        kind=DeviceKind.GPU,
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        name=_text(optional(lambda: pynvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU"),
        memory_total_bytes=memory and int(memory.total),
        memory_used_bytes=memory and int(memory.used),
        utilization_percent=utilization and int(utilization.gpu),
        temperature_celsius=optional(
            lambda: pynvml.nvmlDeviceGetTemperature(parent, pynvml.NVML_TEMPERATURE_GPU)
        ),
        power_watts=None if power is None else power / 1000,
        energy_joules=None if millijoules is None else millijoules / 1000,
        processes=_processes(handle),
        hardware_errors=health.errors(parent),
    )


def _memory(handle: Any) -> Any:
    """`memory.total` and `memory.used`; version 2 counts what the driver reserves for itself apart."""
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except (
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_InvalidArgument,
    ):
        return optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))


def _processes(handle: Any) -> tuple[Process, ...]:
    """Each pid once: a process that computes and draws is listed by the driver twice."""
    found: dict[int, Process] = {}
    for kind, query in (
        ("compute", pynvml.nvmlDeviceGetComputeRunningProcesses),
        ("mps", pynvml.nvmlDeviceGetMPSComputeRunningProcesses),
        ("graphics", pynvml.nvmlDeviceGetGraphicsRunningProcesses),
    ):
        for seen in optional(partial(query, handle)) or ():
            found.setdefault(seen.pid, Process(seen.pid, None, seen.usedGpuMemory, None, kind))
    return tuple(found.values())


def _faulty(node: str, index: int, error: pynvml.NVMLError) -> Device:
    """A device that does not answer, by the UUID that the driver still knows or had the last time."""
    try:
        uuid = _text(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
    except pynvml.NVMLError:
        uuid = _last_uuid.get(index, f"GPU-unknown-{node}-{index}")
    fault = explain(error)
    lasting = (fault,) if error.value in LASTING_FAULTS else ()
    return Device(node, DeviceKind.GPU, index, uuid, "NVIDIA GPU", fault=fault, hardware_errors=lasting)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
