"""Durations and sizes as people write them: `7d`, `1h30m`, `1:30:00`, `512MiB`. Standard library only."""

from __future__ import annotations

import re

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNIT_BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def seconds(value: object) -> int:
    """`1h`, `90m`, `1h30m`, `1:30:00` or a whole number of seconds. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError("not a duration")
    if clock := re.fullmatch(r"(\d{1,5}):([0-5]\d):([0-5]\d)", value, re.ASCII):
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])
    if re.fullmatch(r"(\d{1,9}[smhd])+", value, re.ASCII):
        return sum(int(n) * _UNIT_SECONDS[unit] for n, unit in re.findall(r"(\d+)([smhd])", value))
    raise ValueError("not a duration")


def written(duration: float) -> str:
    """As `seconds` reads it: `2h`, `1h30m`, `45s`; less than a second is 0s."""
    rest, parts = round(duration), []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _UNIT_SECONDS[unit])
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def size_bytes(value: object) -> int:
    """`512MiB`, `1.5GiB` or a whole number of bytes. Units are powers of 1024. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = isinstance(value, str) and re.fullmatch(
        r"(\d{1,15}(?:\.\d{1,6})?) ?(B|KiB|MiB|GiB|TiB|)", value, re.ASCII
    )
    if not found:
        raise ValueError("not a size")
    return round(float(found[1]) * _UNIT_BYTES[found[2]])
