"""A forecast beside the truth and a naive one, as forecast.json has it and forecast.png shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

FILE = "forecast.json"
MAX_FILE_BYTES = 4 << 20
MAX_TRACKS, MAX_POINTS = 6, 400
"""Of a picture, and of one of its panels."""

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Track:
    """One target of one group, in the units of the data. `x`: ISO 8601 times, numbers of the data, or rows; a point
    without truth, forecast and naive forecast parts the lines."""

    target: str
    group: str | None
    x: list[str] | list[float]
    truth: Values
    forecast: Values
    naive: Values


@dataclass(frozen=True, slots=True)
class Forecast:
    """`part`: train, validation or test. `horizon`: steps ahead; forecasts follow one another without overlap.
    `axis`: what `x` is: "time" or "row". `zone`: in which ISO times are to be shown; None as they stand."""

    part: str
    horizon: int
    naive: str
    axis: str
    zone: str | None
    of_tracks: int
    of_points: int
    tracks: list[Track]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(found: Any) -> Forecast:
    """Of a file that its user may have written. Raises ValueError."""
    try:
        tracks = [_track(one) for one in found["tracks"]]
        zone, counts = found["zone"], (found["horizon"], found["of_tracks"], found["of_points"])
        if not tracks or not (zone is None or isinstance(zone, str)):
            raise ValueError
        part, naive, axis = (str(found[key]) for key in ("part", "naive", "axis"))
        horizon, of_tracks, of_points = map(int, counts)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError("is not as gpujobs writes it") from None
    return Forecast(part, horizon, naive, axis, zone, of_tracks, of_points, tracks[:MAX_TRACKS])


def _track(found: Mapping[str, Any]) -> Track:
    x = found["x"]
    if not isinstance(x, list) or len({type(one) is str for one in x}) != 1:
        raise ValueError
    values = {key: _values(found[key], len(x)) for key in ("truth", "forecast", "naive")}
    shown = x if isinstance(x[0], str) else [float(one) for one in x]
    group = found["group"]
    return Track(str(found["target"]), None if group is None else str(group), shown, **values)


def _values(found: Any, count: int) -> Values:
    if not isinstance(found, list) or len(found) != count:
        raise ValueError
    return [None if one is None or not math.isfinite(float(one)) else float(one) for one in found]


def title(shown: Forecast) -> str:
    ahead = "one step ahead" if shown.horizon == 1 else f"{shown.horizon} steps ahead"
    first, last = len(shown.tracks), max(len(track.x) for track in shown.tracks)
    several = f"; {first} of {shown.of_tracks} series" if shown.of_tracks > first else ""
    some = f", the last {last} of {shown.of_points} steps" if shown.of_points > last else ""
    return f"{ahead}, on the {shown.part} part{some}{several}"


def instant(text: str) -> datetime:
    """A time without a zone stands on the axis as it is written, which UTC leaves alone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def zone_of(shown: Forecast) -> tzinfo:
    """UTC, too, for a name that this machine does not know."""
    if shown.zone is None:
        return UTC
    try:
        return ZoneInfo(shown.zone)
    except (ValueError, OSError):
        return _offset(shown.zone)


def _offset(name: str) -> tzinfo:
    try:
        return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo or UTC
    except ValueError:
        return UTC
