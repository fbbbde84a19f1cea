"""What NVML's error codes mean to people, and to a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pynvml

Value = TypeVar("Value")

ADVICE = {
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel module is not loaded; try `modprobe nvidia`, or boot again",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was updated while it was in use; "
    "boot again, or unload and load its kernel modules",
    pynvml.NVML_ERROR_OPERATING_SYSTEM: "the operating system blocks access to the driver; "
    "look at the permissions of /dev/nvidia* and at the device cgroup",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not ask the driver; look at the permissions of /dev/nvidia*",
    pynvml.NVML_ERROR_TIMEOUT: "the driver did not answer in time; `dmesg | grep -i xid` may say why",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU has fallen off the bus; boot again, and look at its power and its seat",
    pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU needs a reset: `nvidia-smi --gpu-reset`, or boot again",
    pynvml.NVML_ERROR_UNKNOWN: "an internal error of the driver; `dmesg | grep -i xid` may say why",
}


def explain(error: pynvml.NVMLError) -> str:
    advice = ADVICE.get(error.value)
    return f"{error} (error {error.value})" + (f": {advice}" if advice else "")


_DEVICE_FAULTS = (
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_OPERATING_SYSTEM,
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_UNKNOWN,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
"""Errors that say that something is broken, as against a value that this device does not have."""


def optional(query: Callable[[], Value]) -> Value | None:
    try:
        return query()
    except pynvml.NVMLError as error:
        if error.value in _DEVICE_FAULTS:
            raise
        return None
