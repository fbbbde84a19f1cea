"""What `restore` says before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpujobs.paths import StatePaths
from gpujobs.store.backups import Backup, Newer, describe

NOTHING = Newer(highest=7, results=[], spool=[], waiting=[])


def said(directory: Path, newer: Newer) -> list[str]:
    backup = Backup(directory / "copy", {"made_at": "2026-01-05T12:00:00+00:00", "highest": 7})
    return describe(backup, newer, StatePaths(directory / "state"))


def test_a_copy_that_nothing_is_newer_than_has_one_line(tmp_path: Path) -> None:
    (line,) = said(tmp_path, NOTHING)
    assert line.startswith(f"The copy in {tmp_path / 'copy'} was made on 2026-01-0") and line.endswith(
        "up to 7."
    )


@pytest.mark.parametrize(
    ("newer", "expected"),
    [
        (Newer(9, [], [], []), "Since then numbers up to 9 were given; they are not given again."),
        (Newer(7, [3, 5], [], []), "Results that it does not list, of jobs 3, 5: they stay"),
        (Newer(7, [], [4], []), "Jobs that it does not know, in"),
        (
            Newer(7, [], [], list(range(1, 13))),
            "taken up again from there: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more.",
        ),
    ],
)
def test_each_thing_that_is_newer_has_its_line(tmp_path: Path, newer: Newer, expected: str) -> None:
    _, line = said(tmp_path, newer)
    assert expected in line
