"""What the clock of a series' times is: instants, or the time that a clock on the wall shows, in a zone or in none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpujobs.trainer.data.arrays import Integers, Times
from gpujobs.trainer.failures import DataError

LIKELY_ZONES = (
    "Europe/Berlin",
    "Europe/London",
    "Europe/Athens",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Halifax",
    "America/St_Johns",
    "America/Santiago",
    "America/Sao_Paulo",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Asia/Jerusalem",
    "Asia/Tehran",
    "Asia/Beirut",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/Asuncion",
    "Europe/Istanbul",
    "Europe/Moscow",
)
"""One for each rule of summer time that times without a zone may follow. The first that fits stands for the others."""


@dataclass(frozen=True, slots=True)
class Clock:
    """`is_wall`: the file's times are those of a clock on the wall of `zone`; else they are instants (in UTC), which
    people of the zone read on their wall. Without a zone both are the same."""

    zone: str | None = None
    is_wall: bool = True

    def instants(self, times: Times, series: Integers | None = None, sizes: Collection[float] = ()) -> Times:
        """`series`: the first rows of each, within which an hour may come twice. `sizes`: the steps that they may
        keep, in nanoseconds, which tell which of the two an hour is that stands there once."""
        if self.zone is None or not self.is_wall:
            return times
        early, late = (_assumed(times, self.zone, which) for which in ("earliest", "latest"))
        return _twice(times, early, late, series, sizes)

    def is_twice(self, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Which of these times on the wall come twice."""
        assert self.zone is not None
        early, late = (_assumed(times, self.zone, which) for which in ("earliest", "latest"))
        return early != late

    def wall(self, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        if self.zone is None or self.is_wall:
            return times
        aware = pa.array(times).cast(pa.timestamp(_unit(times), self.zone))
        return pc.local_timestamp(aware).to_numpy(zero_copy_only=False)

    def of_wall(self, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """As the file has them, from those on the wall; of an hour that comes twice the first."""
        if self.zone is None or self.is_wall:
            return times
        return _assumed(times, self.zone, "earliest")

    def of_instants(self, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """As the file has them."""
        if self.zone is None or not self.is_wall:
            return times
        return Clock(self.zone, is_wall=False).wall(times)


def require_zone(name: str) -> None:
    """Raises DataError for a zone that is not known here."""
    try:
        _assumed(np.array(["2000-01-01"], "M8[s]"), name, "earliest")
    except pa.ArrowException as error:
        raise DataError(
            f"data.timezone: {name} is no zone that is known here; expected one such as Europe/Berlin"
        ) from error


def _assumed(times: NDArray[np.datetime64], zone: str, ambiguous: str) -> NDArray[np.datetime64]:
    """Instants. A time that the zone leaves out, between 02:00 and 03:00 in spring, is the end of that hour."""
    aware = pc.assume_timezone(pa.array(times), zone, ambiguous=ambiguous, nonexistent="latest")
    return aware.to_numpy(zero_copy_only=False).astype(times.dtype)


def _unit(times: NDArray[np.datetime64]) -> str:
    return str(np.datetime_data(times.dtype)[0])


def _twice(
    times: NDArray[np.datetime64],
    early: NDArray[np.datetime64],
    late: NDArray[np.datetime64],
    series: Integers | None,
    sizes: Collection[float],
) -> NDArray[np.datetime64]:
    """The hour that comes twice in autumn: the first time until the clock goes back or stands, then the second; of
    rows so far apart that they meet it once, the one that is a step from the row before (or after, at the start)."""
    found = early.copy()
    firsts = {0} if series is None else set(np.asarray(series).tolist())
    for row in np.flatnonzero(early != late).tolist():
        if row == 0 or row in firsts:
            if sizes and _is_later_of_two(times, early, late, row, firsts, sizes):
                found[row] = late[row]
        elif (
            times[row] <= times[row - 1]
            or found[row - 1] >= late[row - 1] != early[row - 1]
            or (
                _is_step(late[row] - found[row - 1], sizes)
                and not _is_step(early[row] - found[row - 1], sizes)
            )
        ):
            found[row] = late[row]
    return found


def _is_later_of_two(
    times: Any, early: Any, late: Any, row: int, firsts: Collection[int], sizes: Collection[float]
) -> bool:
    """Of a series that begins in the hour that comes twice: whether it is the second, as what comes after says."""
    after = row + 1
    while after < len(times) and after not in firsts and early[after] != late[after]:
        if times[after] <= times[after - 1]:
            return False
        after += 1
    if after == len(times) or after in firsts:
        return False
    count = after - row
    return _is_step((early[after] - late[row]) / count, sizes) and not _is_step(
        (early[after] - early[row]) / count, sizes
    )


def _is_step(apart: np.timedelta64, sizes: Collection[float]) -> bool:
    return int(apart.astype("m8[ns]").astype(np.int64)) in sizes


def fine(times: Times) -> Times:
    """In seconds, or finer where the file has it finer."""
    if times.dtype.kind != "M":
        return times
    unit, count = np.datetime_data(times.dtype)
    return times if unit in ("s", "ms", "us", "ns") and count == 1 else times.astype("M8[s]")
