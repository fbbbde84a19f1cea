"""The figures of one attempt: what was sampled of its device, what the kernel says of its process, and, for people to
see, what its trainer says of its data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gpujobs.measured.sums import Sums

COUNTER, POWER = "counter", "power"
"""By what an energy is known: the device's own counter, or its power integrated over the time that was sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """As the kernel has counted it for the supervisor, of the trainer and of the processes that it has waited for.
    `cpu_threads`: what it was told to compute with."""

    peak_memory_bytes: int
    cpu_seconds: float
    cpu_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """None is what is not known. Parts go from 0 to 1.

    `seconds`: from the start of the attempt to its end. `load`, `idle`: of the time that was sampled, in which the
    GPU did compute, or did not; where `others` (the part in which other jobs or strangers were on the device) is not 0,
    that is the device's load and not the job's alone. `memory_peak_bytes`: of its process on the device;
    `memory_reserved_bytes`: of the device, the whole of it where it was not shared. `cpu_share`: of the time of its
    threads. `data_share`: of the training's time, what went into preparing batches, as the trainer says.
    """

    kind: str
    seconds: float
    sampled_seconds: float | None = None
    samples: int | None = None
    load: float | None = None
    idle: float | None = None
    load_peak: float | None = None
    others: float | None = None
    memory_peak_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    energy_joules: float | None = None
    energy_by: str | None = None
    host_memory_peak_bytes: int | None = None
    cpu_seconds: float | None = None
    cpu_threads: int | None = None
    cpu_share: float | None = None
    data_share: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Without what is not known."""
        return {name: _rounded(value) for name, value in asdict(self).items() if value is not None}


def figures(
    *,
    kind: str,
    seconds: float,
    sums: Sums | None = None,
    reserved_bytes: int | None = None,
    host: Host | None = None,
    data_share: object = None,
) -> Figures:
    """`sums` None or empty: nothing sampled, as of a CPU slot. `data_share`: what a trainer says, whatever that is."""
    return Figures(
        kind=kind,
        seconds=seconds,
        memory_reserved_bytes=reserved_bytes,
        data_share=_part(data_share),
        **_of_device(sums),
        **_of_host(host, seconds),
    )


def _of_device(sums: Sums | None) -> dict[str, Any]:
    if sums is None or not sums.samples:
        return {}
    peak = sums.load_peak_percent
    by = COUNTER if sums.counted_joules is not None else POWER
    return {
        "sampled_seconds": sums.seconds,
        "samples": sums.samples,
        "load": sums.load,
        "idle": sums.idle,
        "load_peak": None if peak is None else peak / 100,
        "others": sums.others_seconds / sums.seconds if sums.seconds > 0 else None,
        "memory_peak_bytes": sums.memory_peak_bytes,
        "energy_joules": sums.energy_joules,
        "energy_by": None if sums.energy_joules is None else by,
    }


def _of_host(host: Host | None, seconds: float) -> dict[str, Any]:
    if host is None:
        return {}
    threads = seconds * host.cpu_threads
    return {
        "host_memory_peak_bytes": host.peak_memory_bytes,
        "cpu_seconds": host.cpu_seconds,
        "cpu_threads": host.cpu_threads,
        "cpu_share": min(1.0, host.cpu_seconds / threads) if threads > 0 else None,
    }


def _part(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
