"""A cell that is written as a time, and is none: what is wrong with it, by Python's own calendar."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from gpujobs.trainer.data.reading import no_times
from gpujobs.trainer.failures import DataError

from .making import prepared

DATA = "{train: t.csv, time: at, target: v, window: {length: 2}}"


@pytest.mark.parametrize(
    ("cell", "usual", "why"),
    [
        ("2026-02-30", "2026-02-%02d", "February 2026 has 28 days"),
        ("2026-13-01", "2026-02-%02d", "there is no month 13"),
        ("2026-02-00", "2026-02-%02d", "there is no day 0"),
        ("2026-02-01 24:00", "2026-02-01 %02d:00", "there is no hour 24: midnight is 00:00 of the next day"),
        ("2026-02-01T10:61:00Z", "2026-02-01T%02d:00:00Z", "there is no minute 61"),
        ("2026-W05", "2026-02-%02d", "weeks cannot be read: write the day, 2026-01-26"),
        ("2026-W54-1", "2026-02-%02d", "there is no week 54 in 2026"),
        ("30.02.2026 10:00", "28.01.2026 %02d:00", "written %d.%m.%Y %H:%M: February 2026 has 28 days"),
        ("13/31/2026", "1/%02d/2026", "written %m/%d/%Y: there is no month 13"),
    ],
)
def test_what_is_no_time_is_said(tmp_path: Path, cell: str, usual: str, why: str) -> None:
    usuals = [usual % number for number in (20, 21, 22, 23)]
    rows = [*usuals[:3], cell, *usuals[3:]]
    text = "at,v\n" + "".join(f"{one},{number}\n" for number, one in enumerate(rows))
    with pytest.raises(DataError) as error:
        prepared(tmp_path, DATA, {"t.csv": text})
    assert (
        str(error.value)
        == f"t.csv: row 5: column at: holds '{cell}'; expected a time{'' if why[:7] == 'written' else ':'} {why}"
    )


def test_days_that_there_are_are_none_of_these() -> None:
    """Of every day that could be written in five years, as Python's calendar has it."""
    for year in range(1999, 2004):
        for number in range(32 * 13):
            month, day = divmod(number, 32)
            try:
                datetime.date(year, month, day)
            except ValueError:
                is_day = False
            else:
                is_day = True
            assert (no_times.why(f"{year}-{month:02}-{day:02}") is None) == is_day
