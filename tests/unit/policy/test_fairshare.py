"""The formulas of fair share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.model import Process
from gpujobs.policy import Rules, Snapshot, Usage, occupancy
from gpujobs.policy.inputs.rules import PriorityRules, Shares
from gpujobs.policy.users.fairshare import (
    decayed_seconds,
    device_share,
    factor,
    foreign_seconds,
    normalised_shares,
    with_attempt,
)
from gpujobs.policy.users.standing import standing

from .box import GIB, NOW, gpu, later, pending


@pytest.mark.parametrize(
    ("usage", "share", "expected"), [(0, 0.5, 1), (0.5, 0.5, 0.5), (1, 0.5, 0.25), (0.3, 0.3, 0.5), (0, 0, 0)]
)
def test_the_factor_of_the_slurm_documentation(usage: float, share: float, expected: float) -> None:
    """One half for exactly the share, one for nothing used."""
    assert factor(usage, share) == pytest.approx(expected)


def test_the_normalised_shares_of_the_slurm_documentation() -> None:
    """ "A user's normalized shares": the share among siblings times the account's among its siblings."""
    shares = Shares(users={"1": 1.0}, groups={"B": 30, "C": 10, "E": 25, "F": 35})
    groups = {"1": ("B",), "2": ("C",), "3": ("C",), "4": ("E",), "5": ("F",)}
    found = normalised_shares("12345", groups, shares)
    assert found == pytest.approx({"1": 0.3, "2": 0.05, "3": 0.05, "4": 0.25, "5": 0.35})


def test_who_weighs_nothing_has_no_share() -> None:
    nothing = Shares(users={"a": 0.0, "b": 0.0}, groups={"x": 1.0})
    assert normalised_shares("ab", {"a": ("x",), "b": ("x",)}, nothing) == {"a": 0.0, "b": 0.0}
    assert normalised_shares("abc", {"a": ("x",)}, nothing) == {"a": 0.0, "b": 0.0, "c": pytest.approx(0.5)}
    assert normalised_shares("ab", {}, Shares(users={"a": 0.0, "b": 0.0})) == {"a": 0.0, "b": 0.0}
    assert normalised_shares("ab", {}, Shares(users={"a": 0.0})) == {"a": 0.0, "b": 1.0}


@given(
    st.sets(st.sampled_from("abcdefg"), min_size=1),
    st.dictionaries(st.sampled_from("abcdefg"), st.floats(0.1, 10)),
    st.dictionaries(st.sampled_from("xyz"), st.floats(0.1, 10)),
    st.dictionaries(st.sampled_from("abcdefg"), st.sampled_from([(), ("x",), ("y", "x"), ("z",)])),
)
def test_shares_add_up_to_one(
    users: set[str],
    weights: dict[str, float],
    of_groups: dict[str, float],
    groups: dict[str, tuple[str, ...]],
) -> None:
    found = normalised_shares(users, groups, Shares(weights, of_groups))
    assert found.keys() == users
    assert math.fsum(found.values()) == pytest.approx(1)


@given(st.floats(1, 1e7), st.floats(60, 1e7))
def test_decay_is_an_integral(seconds: float, half_life: float) -> None:
    """Use in two parts counts as much as in one."""
    first, second = seconds / 3, seconds * 2 / 3
    parts = decayed_seconds(first, half_life) * 0.5 ** (second / half_life) + decayed_seconds(
        second, half_life
    )
    assert decayed_seconds(seconds, half_life) == pytest.approx(parts)
    assert decayed_seconds(seconds, half_life) <= seconds


def test_use_that_is_short_against_the_half_life_counts_as_it_is() -> None:
    assert decayed_seconds(60, 7 * 86400) == pytest.approx(60, rel=1e-4)
    assert decayed_seconds(1e9, 100) == pytest.approx(100 / math.log(2))


def test_an_attempt_is_added_to_what_has_decayed() -> None:
    usage = with_attempt(Usage(1000, later(-100)), 0.5, later(-100), NOW, half_life_seconds=100)
    assert usage.gpu_seconds == pytest.approx(500 + 0.5 * decayed_seconds(100, 100)) and usage.at == NOW
    assert with_attempt(None, 1, NOW, NOW, 100) == Usage(0.0, NOW)


def test_a_clock_that_went_back_does_not_make_use_grow() -> None:
    assert Usage(1000, later(60)).decayed(NOW, 10) == 1000


def test_the_part_of_a_device() -> None:
    assert device_share(20 * GIB, 80 * GIB) == 0.25
    assert device_share(None, 80 * GIB) == device_share(GIB, None) == device_share(99 * GIB, 80 * GIB) == 1


def test_foreign_processes_are_charged_once_for_each_device() -> None:
    mine = (Process(1, "a", GIB, "x"), Process(2, "a", GIB, "x"), Process(3, "b", GIB, "x"))
    views = [occupancy(gpu(0, processes=mine), ()), occupancy(gpu(1, processes=mine[:1]), ())]
    views.append(occupancy(gpu(2, processes=(Process(4, None, GIB, "x"),)), ()))
    assert foreign_seconds(views, 30) == {"a": 60, "b": 30}


def competing(weight: float = 1000.0, **usage: float) -> Snapshot:
    """Each user has a job that waits on a box without devices; a weighs three, the others one."""
    return Snapshot(
        NOW,
        [pending(number, 0, user=user) for number, user in enumerate(usage, 1)],
        [],
        [],
        usage={user: Usage(seconds, NOW) for user, seconds in usage.items()},
        rules=Rules(priority=PriorityRules(weight_fair_share=weight), shares=Shares(users={"a": 3.0})),
    )


def test_how_users_stand_is_what_decides_about_their_turns() -> None:
    """a has used half, with a share of three fifths; b 40 % and c 10 %, with a fifth each. F = 2^(-U/S)."""
    snapshot = competing(a=500.0, b=400.0, c=100.0)
    found = {user: standing(snapshot, user) for user in "abc"}
    stand = [one for one in found.values() if one]
    assert [one.used for one in stand] == pytest.approx([0.5, 0.4, 0.1])
    assert [one.share for one in stand] == pytest.approx([0.6, 0.2, 0.2])
    assert [(one.others, one.ahead) for one in stand] == [(2, 1), (2, 2), (2, 0)]
    assert [one.factor for one in found.values() if one] == pytest.approx([2 ** (-5 / 6), 0.25, 2**-0.5])


def test_who_is_alone_or_competes_for_nothing_has_no_standing() -> None:
    assert standing(competing(a=500.0), "a") is None
    assert standing(competing(a=500.0, b=1.0), "z") is None
    assert standing(competing(0.0, a=500.0, b=1.0), "a") is None
