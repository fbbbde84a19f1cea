"""Words for people, written out."""

from __future__ import annotations

import pytest

from gpujobs.policy.inputs.text import count, duration, gib, instant, listing

from .box import GIB, NOW, later


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (60, "1 min"), (61, "61 s"), (119, "119 s"), (120, "2 min"), (150, "2.5 min"), (3600, "1 h"),
        (5400, "90 min"), (7200, "2 h"), (86400, "1 d"), (90000, "25 h"), (172800, "2 d"),
    ],
)  # fmt: skip
def test_a_duration_is_in_the_largest_unit_of_which_there_are_two(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([1], "1"), ([1, 2], "1 and 2"), ([1, 2, 3], "1, 2 and 3"),
        (range(8), "0, 1, 2, 3, 4, 5, 6 and 7"),
        (range(9), "0, 1, 2, 3, 4, 5, 6 and 2 more"),
        (range(1000), "0, 1, 2, 3, 4, 5, 6 and 993 more"),
    ],
)  # fmt: skip
def test_a_long_enumeration_is_cut(items: list[int], said: str) -> None:
    assert listing(items) == said


def test_sizes_counts_and_instants() -> None:
    assert (gib(1.5 * GIB), count(1, "job"), count(0, "job")) == ("1.5 GiB", "1 job", "0 jobs")
    assert (instant(NOW), instant(later(-60))) == ("2026-01-05 12:00 UTC", "2026-01-05 11:59 UTC")
