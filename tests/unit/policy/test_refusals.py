"""The frontier of what was refused, against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpujobs.policy.cycle.unschedulable import ParetoFront, Point

points = st.builds(Point, st.integers(0, 9), st.integers(0, 9))


@given(st.lists(points, max_size=30), points)
def test_a_point_is_covered_by_any_that_asks_for_no_more(added: list[Point], asked: Point) -> None:
    frontier = ParetoFront()
    plain: list[Point] = []
    for point in added:
        expected = any(one[0] <= point[0] and one[1] <= point[1] for one in plain)
        assert frontier.covers(point) == expected
        if not expected:
            frontier.add(point)
            plain.append(point)
    assert frontier.covers(asked) == any(one[0] <= asked[0] and one[1] <= asked[1] for one in plain)
