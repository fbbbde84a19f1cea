"""What the probe of NVML answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gpujobs.model import Device
from gpujobs.protocol.codec import Message


class ReadingStatus(StrEnum):
    OK = "ok"
    NO_DRIVER = "no_driver"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reading(Message):
    """`message` explains NO_DRIVER and FAILED; devices only with OK."""

    status: ReadingStatus
    message: str = ""
    devices: tuple[Device, ...] = ()
