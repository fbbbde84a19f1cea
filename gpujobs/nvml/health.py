"""Errors of the hardware, which say that a GPU should get no more work: fatal XIDs, ECC errors, remapped rows.

An XID is an event: NVML tells it once, to those who were listening. So the process that reads keeps what it
has heard for as long as it lives. `dmesg | grep -i xid`, `nvidia-smi -q -d ECC,ROW_REMAPPER` show the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pynvml

from gpujobs.nvml.answers import Value, optional

DEVICE_XIDS = {
    48: "double-bit ECC error",
    63: "a row of memory was remapped, or a page retired",
    64: "remapping a row of memory, or retiring a page, failed",
    79: "the GPU has fallen off the bus",
    94: "contained memory error",
    95: "uncontained memory error",
    119: "the GPU's system processor does not answer",
}
"""Those that are the device's fault, by NVIDIA's "XID Errors" (docs.nvidia.com/deploy/xid-errors); 13, 31, 43 and
45 are an application's."""

MAX_EVENTS = 1000
"""Taken at once; a GPU in trouble can send them without end."""

_heard: dict[str, Counter[int]] = {}
"""By UUID: how often each XID was heard."""

_listening: dict[str, Any] = {}
"""`set`: NVML's event set, once there is one."""


def take_events() -> None:
    """Notes the XIDs that have come since the last call. Where NVML has no events, there are none."""
    if "set" not in _listening:
        _listening["set"] = _listen()
    events = _listening["set"]
    for _ in range(MAX_EVENTS if events is not None else 0):
        event = _or_none(partial(pynvml.nvmlEventSetWait_v2, events, 0))
        if event is None:
            return
        uuid = _or_none(partial(pynvml.nvmlDeviceGetUUID, event.device))
        if uuid is not None and event.eventData in DEVICE_XIDS:
            _heard.setdefault(str(uuid), Counter())[int(event.eventData)] += 1


def forget() -> None:
    """With NVML's end the event set is gone too."""
    _listening.clear()


def errors(handle: Any) -> tuple[str, ...]:
    """What is wrong with a GPU, each in words that change when it happens again."""
    uuid = optional(lambda: str(pynvml.nvmlDeviceGetUUID(handle)))
    heard = _heard.get(uuid or "", Counter())
    found = [f"XID {code}: {DEVICE_XIDS[code]} ({_times(count)})" for code, count in sorted(heard.items())]
    return (*found, *_memory_errors(handle))


def _listen() -> Any:
    events = _or_none(pynvml.nvmlEventSetCreate)
    if events is None:
        return None
    for index in range(pynvml.nvmlDeviceGetCount()):
        _or_none(partial(_register, index, events))
    return events


def _register(index: int, events: Any) -> None:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)


def _memory_errors(handle: Any) -> list[str]:
    found = []
    uncorrected = optional(
        lambda: pynvml.nvmlDeviceGetTotalEccErrors(
            handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        )
    )
    if uncorrected:
        found.append(f"{uncorrected} uncorrected ECC errors since the driver was loaded")
    rows = optional(lambda: pynvml.nvmlDeviceGetRemappedRows(handle))
    if rows is not None and rows[3]:
        found.append("a row of its memory could not be remapped")
    return found


def _or_none(query: Callable[[], Value]) -> Value | None:
    """Events are an extra: a device that cannot give them, or is lost, says so where it is read itself. The end
    of the waiting events is an error too, NVML_ERROR_TIMEOUT."""
    try:
        return query()
    except pynvml.NVMLError:
        return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
