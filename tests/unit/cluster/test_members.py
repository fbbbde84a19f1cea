"""A newer agent of a node fences the older one off: what that says later changes nothing, whatever the order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.cluster.members import Member, Members

STEPS = st.lists(st.tuples(st.sampled_from(["admit", "lose"]), st.integers(0, 5)), max_size=30)


def member(incarnation: int) -> Member[str]:
    return Member("box2", "id", f"start {incarnation}", str(incarnation), f"agent {incarnation}")


def test_what_an_old_agent_says_after_a_new_one_was_admitted_does_not_count() -> None:
    members: Members[str] = Members()
    members.admit(member(1))
    assert members.speaks(member(1))
    assert members.admit(member(2)) == member(1), "whose agent is to be ended"
    assert not members.speaks(member(1)) and members.speaks(member(2))


def test_the_end_of_an_old_agent_is_not_the_end_of_the_new_one() -> None:
    members: Members[str] = Members()
    members.admit(member(1))
    members.admit(member(2))
    assert not members.lose(member(1))
    assert members.get("box2") == member(2)


def test_another_agent_on_the_same_start_of_ray_is_admitted_until_a_newer_start_was() -> None:
    members: Members[str] = Members()
    first, second, late = (Member("box2", "id", "a", f"a.{number}", "agent") for number in range(3))
    members.admit(first)
    assert members.lose(first)
    assert members.has_had("box2", "a")
    assert members.admit(second) is None
    assert members.speaks(second) and not members.speaks(first)
    members.lose(second)
    members.admit(Member("box2", "id", "b", "b.3", "agent"))
    assert members.is_fenced("a") and not members.is_fenced("b")
    with pytest.raises(ValueError, match="fenced"):
        members.admit(late)


@given(STEPS)
def test_an_incarnation_that_was_fenced_never_speaks_again(steps: list[tuple[str, int]]) -> None:
    members: Members[str] = Members()
    gone: set[int] = set()
    current: int | None = None
    for step, number in steps:
        if step == "admit":
            try:
                members.admit(member(number))
            except ValueError:
                assert number in gone
                continue
            assert number not in gone
            if current is not None and current != number:
                gone.add(current)
            current = number
        elif members.lose(member(number)):
            assert number == current
            gone.add(number)
            current = None
        assert [n for n in range(6) if members.speaks(member(n))] == ([] if current is None else [current])
