"""Who has used how much of what: sums over attempts, each clipped to the time that is asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from statistics import median
from typing import Any

from gpujobs.model import iso

BY = ("user", "group", "week", "device")
GPU = "gpu"
HOUR = timedelta(hours=1)
REMOVED = "removed jobs"


@dataclass(frozen=True, slots=True)
class Use:
    """An attempt. `share`: of its device, 0 to 1. `reserved_bytes`: of the device's memory; None where it is not known,
    and `peak_bytes` what was seen of it. `waited_seconds`: of its job, in a job's first attempt. `idle`: the part of
    its time, 0 to 1, in which its device did not compute; None where that was not sampled, as `energy_joules`."""

    user: str
    group: str
    device: str
    kind: str
    job: int | None
    starts_at: datetime
    ends_at: datetime
    share: float
    reserved_bytes: int | None = None
    peak_bytes: int | None = None
    waited_seconds: float | None = None
    idle: float | None = None
    energy_joules: float | None = None

    @property
    def hours(self) -> float:
        return (self.ends_at - self.starts_at) / HOUR


@dataclass(frozen=True, slots=True)
class Presence:
    """Of a device. `since`: when it was first seen, as far as that is known. `is_there`: at present.
    `strangers`: (begin, end, seconds in between in which something that is no job was seen on it)."""

    since: datetime | None = None
    is_there: bool = True
    strangers: Sequence[tuple[datetime, datetime, float]] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """`gpu_hours`, `cpu_hours`: of whole devices; half of one for two hours is one. `memory_used`: of what was
    reserved, the part that was in use at most, over the attempts of which both are known. `idle_hours`: of a device,
    when it was there and no job was on it. Waits are in seconds.

    Of GPUs, over the attempts that were sampled: `load`, 0 to 1, of the time in which jobs had them; `unused_hours`, of
    whole devices, in which jobs had them and they did not compute; `energy_joules`. `foreign_hours`: in which something
    that is no job was seen on a device; None where rows are of people, or nothing is known.
    """

    key: str
    jobs: int
    attempts: int
    gpu_hours: float
    cpu_hours: float
    wait_median: float | None
    wait_max: float | None
    memory_used: float | None
    idle_hours: float | None = None
    load: float | None = None
    unused_hours: float | None = None
    energy_joules: float | None = None
    foreign_hours: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    since: datetime
    until: datetime
    by: str
    rows: list[Row]
    total: Row
    is_whole: bool = True
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "since": iso(self.since), "until": iso(self.until)}


def clipped(uses: Iterable[Use], since: datetime, until: datetime) -> Iterator[Use]:
    """What begins before loses its wait, which belongs to the time before. Energy is spread evenly over an attempt."""
    for use in uses:
        first, end = max(use.starts_at, since), min(use.ends_at, until)
        if first < end:
            waited = use.waited_seconds if first == use.starts_at else None
            energy = use.energy_joules and use.energy_joules * ((end - first) / (use.ends_at - use.starts_at))
            yield replace(use, starts_at=first, ends_at=end, waited_seconds=waited, energy_joules=energy)


NOWHERE: Mapping[str, Presence] = {}


def report(
    uses: Sequence[Use],
    since: datetime,
    until: datetime,
    by: str,
    zone: tzinfo,
    devices: Mapping[str, Presence] = NOWHERE,
) -> Report:
    """`zone`: whose weeks they are, Monday to Sunday; those of a change of summer time have an hour less or more.
    `devices`: those that are there, used or not, and those of which more is known than their use."""
    found = list(clipped(uses, since, until))
    of_devices = {name: None for name, one in devices.items() if one.is_there}
    parts: dict[str, list[Use]] = {name: [] for name in of_devices} if by == "device" else {}
    for use in found:
        for key, one in _keyed(use, by, zone):
            parts.setdefault(key, []).append(one)
    strangers = _strangers(devices, since, until, by, zone)
    for key in strangers:
        parts.setdefault(key, [])
    rows = [_row(key, some) for key, some in parts.items()]
    if by == "device":
        rows = [_with_idle(row, parts[row.key], since, until, devices.get(row.key)) for row in rows]
    rows = [replace(row, foreign_hours=strangers.get(row.key)) for row in rows]
    rows.sort(key=(lambda row: row.key) if by in ("week", "device") else _most_first)
    foreign = _strangers(devices, since, until, "total", zone).get("total")
    return Report(since, until, by, rows, replace(_row("total", found), foreign_hours=foreign))


def _strangers(
    devices: Mapping[str, Presence], since: datetime, until: datetime, by: str, zone: tzinfo
) -> dict[str, float]:
    """Hours, by device, by week or of all; what was seen within an hour is spread evenly over it."""
    hours: dict[str, float] = {}
    if by in ("user", "group"):
        return hours
    for name, device in devices.items():
        for begin, end, seconds in device.strangers:
            seen = Use("", "", name, GPU, None, begin, end, seconds / (end - begin).total_seconds())
            for one in clipped([seen], since, until):
                for key, part in [("total", one)] if by == "total" else _keyed(one, by, zone):
                    hours[key] = hours.get(key, 0.0) + part.hours * part.share
    return hours


def hours_in_words(hours: float) -> str:
    """A few minutes are not nothing."""
    return f"{hours:.1f}" if hours >= 0.05 or hours <= 0 else "<0.1"


def _most_first(row: Row) -> tuple[float, float, str]:
    return -row.gpu_hours, -row.cpu_hours, row.key


def _keyed(use: Use, by: str, zone: tzinfo) -> Iterator[tuple[str, Use]]:
    if by != "week":
        yield str(getattr(use, by)), use
        return
    day = use.starts_at.astimezone(zone).date()
    monday = day - timedelta(days=day.weekday())
    while (begin := _midnight(monday, zone)) < use.ends_at:
        following = monday + timedelta(days=7)
        for one in clipped([use], begin, _midnight(following, zone)):
            yield monday.isoformat(), one
        monday = following


def _midnight(day: date, zone: tzinfo) -> datetime:
    """In UTC: of two instants in one zone Python subtracts what the clocks show."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _row(key: str, uses: Sequence[Use]) -> Row:
    waits = [use.waited_seconds for use in uses if use.waited_seconds is not None]
    known = [(use.peak_bytes, use.reserved_bytes) for use in uses if use.peak_bytes and use.reserved_bytes]
    reserved = sum(one for _, one in known)
    sampled = [(use.hours * use.share, use.idle) for use in uses if use.kind == GPU and use.idle is not None]
    hours, unused = sum(one for one, _ in sampled), sum(one * idle for one, idle in sampled)
    energies = [use.energy_joules for use in uses if use.energy_joules is not None]
    return Row(
        key,
        len({use.job for use in uses if use.job is not None}),
        len(uses),
        sum(use.hours * use.share for use in uses if use.kind == GPU),
        sum(use.hours * use.share for use in uses if use.kind != GPU),
        median(waits) if waits else None,
        max(waits, default=None),
        sum(min(peak, of) for peak, of in known) / reserved if reserved else None,
        load=1 - unused / hours if hours else None,
        unused_hours=unused if hours else None,
        energy_joules=sum(energies) if energies else None,
    )


def _with_idle(
    row: Row, uses: Sequence[Use], since: datetime, until: datetime, device: Presence | None
) -> Row:
    """A device is not idle before it was first seen; one that is gone, not after its last use."""
    if row.key == REMOVED:
        return row
    first = since if device is None or device.since is None else max(since, device.since)
    is_there = device is not None and device.is_there
    end = until if is_there else max((use.ends_at for use in uses), default=first)
    first = min([first, *(use.starts_at for use in uses)])
    return replace(row, idle_hours=max(0.0, (end - first) / HOUR - _covered(uses)))


def _covered(uses: Sequence[Use]) -> float:
    """Hours in which at least one of them ran."""
    hours, last = 0.0, None
    for use in sorted(uses, key=lambda one: one.starts_at):
        first = use.starts_at if last is None else max(use.starts_at, last)
        if use.ends_at > first:
            hours += (use.ends_at - first) / HOUR
            last = use.ends_at
    return hours
