"""Samples of a job's device, added up as they come: what is kept does not grow with the time that a job runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

MAX_GAP_SECONDS = 30.0
"""Between two samples; what happened in a longer pause nobody knows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one reading says of a job's device. None is what the driver does not tell.

    `load_percent` is NVML's `utilization.gpu`: of the time just passed, the part in which any kernel ran.
    `energy_joules`: of the device, since its driver was loaded. `jobs`: how many of ours are on the device.
    `strangers`: whether something else is. `memory_bytes`: of this job's process alone.
    """

    load_percent: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    memory_bytes: int | None = None
    jobs: int = 1
    strangers: bool = False


@dataclass(frozen=True, slots=True)
class Sums:
    """Of the samples of one attempt. Seconds are those between samples that followed each other within a gap.

    `busy_seconds`: of `load_seconds`, in which the load was known, the part in which the device computed.
    `others_seconds`: in which it was shared with other jobs or strangers. `counted_joules`, by the device's own
    counter, and `power_joules`, integrated over `power_seconds`, are the job's even part where several jobs are on it;
    `counter_joules` is where that counter stood at the last sample.
    """

    samples: int = 0
    seconds: float = 0.0
    load_seconds: float = 0.0
    busy_seconds: float = 0.0
    load_peak_percent: float | None = None
    memory_peak_bytes: int | None = None
    others_seconds: float = 0.0
    power_seconds: float = 0.0
    power_joules: float = 0.0
    counter_joules: float | None = None
    counted_joules: float | None = None

    @property
    def load(self) -> float | None:
        """0 to 1."""
        return self.busy_seconds / self.load_seconds if self.load_seconds > 0 else None

    @property
    def idle(self) -> float | None:
        """0 to 1: the part of the time in which no kernel ran."""
        return None if self.load is None else 1.0 - self.load

    @property
    def energy_joules(self) -> float | None:
        """By the counter, where the device has one; it goes on where nobody looked."""
        if self.counted_joules is not None:
            return self.counted_joules
        return self.power_joules if self.power_seconds > 0 else None


NONE = Sums()


def added(sums: Sums, sample: Sample, before: Sample | None, elapsed_seconds: float) -> Sums:
    """`before`: the sample that came `elapsed_seconds` earlier; None where this is the first since somebody looks."""
    changes = {"samples": sums.samples + 1, **_peaks(sums, sample), **_counter(sums, sample)}
    if before is not None and 0 < elapsed_seconds <= MAX_GAP_SECONDS:
        changes |= _time(sums, sample, before, elapsed_seconds)
    return replace(sums, **changes)  # once: it is done for each job at each look


def _peaks(sums: Sums, sample: Sample) -> dict[str, Any]:
    return {
        "load_peak_percent": _larger(sums.load_peak_percent, sample.load_percent),
        "memory_peak_bytes": _larger(sums.memory_peak_bytes, sample.memory_bytes),
    }


def _counter(sums: Sums, sample: Sample) -> dict[str, Any]:
    """A counter that has gone back began anew with its driver: what was used in between is not known."""
    now, last = sample.energy_joules, sums.counter_joules
    if now is None:
        return {}
    if last is None:
        return {"counter_joules": now}
    more = max(0.0, now - last) / max(1, sample.jobs)
    return {"counter_joules": now, "counted_joules": (sums.counted_joules or 0.0) + more}


def _time(sums: Sums, sample: Sample, before: Sample, seconds: float) -> dict[str, Any]:
    """Of the load a sample says what has just been; power is taken to change evenly between two samples."""
    is_shared = sample.jobs > 1 or sample.strangers
    changes = {
        "seconds": sums.seconds + seconds,
        "others_seconds": sums.others_seconds + (seconds if is_shared else 0.0),
    }
    if sample.load_percent is not None:
        busy = seconds * min(100.0, sample.load_percent) / 100
        changes |= {"load_seconds": sums.load_seconds + seconds, "busy_seconds": sums.busy_seconds + busy}
    if sample.power_watts is not None:
        first = sample.power_watts if before.power_watts is None else before.power_watts
        joules = seconds * (first + sample.power_watts) / 2 / max(1, sample.jobs)
        changes |= {
            "power_seconds": sums.power_seconds + seconds,
            "power_joules": sums.power_joules + joules,
        }
    return changes


def _larger(known: Any, found: Any) -> Any:
    return known if found is None else found if known is None else max(known, found)


def written(sums: Sums) -> dict[str, Any]:
    """For the store."""
    return asdict(sums)


def read(value: Mapping[str, Any] | None) -> Sums:
    """As the store has it, maybe of another version: what is not understood counts as not sampled."""
    names = {field.name for field in fields(Sums)}
    given: dict[str, Any] = {
        name: one
        for name, one in (value or {}).items()
        if name in names and isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
    }
    return Sums(**given)
