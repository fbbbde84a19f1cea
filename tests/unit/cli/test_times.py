"""Instants as people type them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gpujobs.cli.times import instant

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18:30", datetime(2026, 3, 1, 16, 30, tzinfo=UTC)),
        ("11:59", datetime(2026, 3, 2, 9, 59, tzinfo=UTC)),
        ("+90m", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
        ("now+1h30m", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 23, 22, 0, tzinfo=UTC)),
        ("2026-12-24T18:30", datetime(2026, 12, 24, 16, 30, tzinfo=UTC)),
        ("2026-12-24T18:30Z", datetime(2026, 12, 24, 18, 30, tzinfo=UTC)),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    assert instant(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "+", "+1x", "2026-13-01"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError):
        instant(text, NOON)
