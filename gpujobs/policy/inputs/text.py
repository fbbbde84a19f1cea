"""Words for people: instants, sizes, enumerations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

SHOWN = 8
"""Longer enumerations are cut, since a site may have a thousand devices."""


def instant(at: datetime) -> str:
    """`2026-01-31 14:32 UTC`"""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def duration(seconds: float) -> str:
    """`90 s`, `5 min`, `3 h`, `2.5 d`: the largest unit of which there are two, or an even number."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def listing(items: Sequence[object]) -> str:
    """`1`, `1 and 2`, `1, 2 and 3`; beyond SHOWN, `1, 2, … and 7 more`."""
    if len(items) > SHOWN:
        return f"{', '.join(map(str, items[: SHOWN - 1]))} and {len(items) - SHOWN + 1} more"
    *head, last = map(str, items)
    return f"{', '.join(head)} and {last}" if head else last


def count(number: int, singular: str) -> str:
    """`1 job`, `3 jobs`"""
    return f"{number} {singular}{'' if number == 1 else 's'}"
