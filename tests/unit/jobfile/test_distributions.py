"""How often each value of a sweep is drawn, by the formulas of the distributions."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from gpujobs.jobfile.distributions import DISTRIBUTIONS

COUNT = 100_000
SHARES = [(number + 0.5) / COUNT for number in range(COUNT)]


def often(kind: str, given: Any) -> dict[Any, float]:
    """The share of the draws that each value has, over evenly spaced draws."""
    draw = DISTRIBUTIONS[kind](given)
    return {value: count / COUNT for value, count in Counter(map(draw, SHARES)).items()}


def test_whole_numbers_are_as_likely_as_each_other_both_ends_too() -> None:
    assert often("integers", [2, 5]) == pytest.approx(dict.fromkeys((2, 3, 4, 5), 0.25), abs=1e-4)


def test_whole_numbers_by_order_of_magnitude_reach_the_highest() -> None:
    """P(n) = log((n + 1) / n) / log((high + 1) / low)."""
    expected = {n: math.log((n + 1) / n) / math.log(6 / 2) for n in (2, 3, 4, 5)}
    assert often("log_integers", [2, 5]) == pytest.approx(expected, abs=1e-4)


def test_half_of_the_numbers_lie_below_the_middle_of_what_is_drawn() -> None:
    for kind, middle in (("uniform", 50.5), ("log_uniform", 10.0)):
        draw = DISTRIBUTIONS[kind]([1.0, 100.0])
        assert draw(0.5) == pytest.approx(middle)
        assert (draw(0.0), draw(1.0)) == pytest.approx((1.0, 100.0))


def test_values_are_as_likely_as_each_other() -> None:
    assert often("choice", ["a", "b", "c", "d"]) == dict.fromkeys("abcd", 0.25)
