"""Who has used how much of what: sums over attempts, each clipped to the time that is asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    and `peak_bytes` what was seen of it. `waited_seconds`: of its job, in a job's first attempt."""

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

    @property
    def hours(self) -> float:
        return (self.ends_at - self.starts_at) / HOUR


@dataclass(frozen=True, slots=True)
class Row:
    """`gpu_hours`, `cpu_hours`: of whole devices; half of one for two hours is one. `memory_used`: of what was
    reserved, the part that was in use at most, over the attempts of which both are known. `idle_hours`: of a device,
    when no job was on it. Waits are in seconds."""

    key: str
    jobs: int
    attempts: int
    gpu_hours: float
    cpu_hours: float
    wait_median: float | None
    wait_max: float | None
    memory_used: float | None
    idle_hours: float | None = None


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
    """What begins before loses its wait, which belongs to the time before."""
    for use in uses:
        first, end = max(use.starts_at, since), min(use.ends_at, until)
        if first < end:
            waited = use.waited_seconds if first == use.starts_at else None
            yield replace(use, starts_at=first, ends_at=end, waited_seconds=waited)


def report(
    uses: Sequence[Use], since: datetime, until: datetime, by: str, zone: tzinfo, devices: Sequence[str] = ()
) -> Report:
    """`zone`: whose weeks they are, Monday to Sunday; those of a change of summer time have an hour less or more.
    `devices`: those that are there, used or not."""
    found = list(clipped(uses, since, until))
    parts: dict[str, list[Use]] = {name: [] for name in devices} if by == "device" else {}
    for use in found:
        for key, one in _keyed(use, by, zone):
            parts.setdefault(key, []).append(one)
    rows = [_row(key, some, since, until, is_device=by == "device") for key, some in parts.items()]
    rows.sort(key=(lambda row: row.key) if by in ("week", "device") else _most_first)
    return Report(since, until, by, rows, _row("total", found, since, until))


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


def _row(key: str, uses: Sequence[Use], since: datetime, until: datetime, *, is_device: bool = False) -> Row:
    waits = [use.waited_seconds for use in uses if use.waited_seconds is not None]
    known = [(use.peak_bytes, use.reserved_bytes) for use in uses if use.peak_bytes and use.reserved_bytes]
    reserved = sum(one for _, one in known)
    return Row(
        key,
        len({use.job for use in uses if use.job is not None}),
        len(uses),
        sum(use.hours * use.share for use in uses if use.kind == GPU),
        sum(use.hours * use.share for use in uses if use.kind != GPU),
        median(waits) if waits else None,
        max(waits, default=None),
        sum(min(peak, of) for peak, of in known) / reserved if reserved else None,
        (until - since) / HOUR - _covered(uses) if is_device and key != REMOVED else None,
    )


def _covered(uses: Sequence[Use]) -> float:
    """Hours in which at least one of them ran."""
    hours, last = 0.0, None
    for use in sorted(uses, key=lambda one: one.starts_at):
        first = use.starts_at if last is None else max(use.starts_at, last)
        if use.ends_at > first:
            hours += (use.ends_at - first) / HOUR
            last = use.ends_at
    return hours
