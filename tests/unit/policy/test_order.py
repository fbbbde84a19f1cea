"""Whose turn it is: classes, fair share, age."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

from gpujobs.model import Process
from gpujobs.policy import PendingJob, Rules, Usage
from gpujobs.policy.inputs.rules import DAY, ForeignPolicy, PriorityRules, Shares
from gpujobs.policy.reasons.pending_reasons import PendingReasons

from .box import GIB, NOW, gpu, gpus, later, node, packed, pending, run, started, whole


def jobs(user: str, first: int, count: int, **values: Any) -> list[PendingJob]:
    return [pending(id, 0, user=user, **values) for id in range(first, first + count)]


def order(*waiting: PendingJob, **values: Any) -> list[int]:
    """The ids in the order in which they start, on a box that has room for all."""
    return [job for job, _ in started(run(waiting, gpus(len(waiting)), **values))]


def test_who_has_used_less_comes_first() -> None:
    usage = {"a": Usage(1000.0, NOW), "b": Usage(999.0, NOW)}
    assert order(*jobs("a", 1, 1), *jobs("b", 2, 1), usage=usage) == [2, 1]


def test_usage_fades_by_half_lives() -> None:
    half_life = PriorityRules().half_life_seconds
    usage = {"a": Usage(1000.0, later(-half_life)), "b": Usage(501.0, NOW)}
    assert order(*jobs("b", 1, 1), *jobs("a", 2, 1), usage=usage) == [2, 1]


def test_a_class_outweighs_usage_and_usage_outweighs_age() -> None:
    usage = {"a": Usage(1e9, NOW)}
    classes = [pending(1, 0, user="b"), pending(2, 1, user="a")]
    assert order(*classes, usage=usage) == [2, 1]
    old = pending(1, 0, user="a", submitted_at=later(-30 * DAY))
    assert order(old, pending(2, 0, user="b"), usage=usage) == [2, 1]


def test_age_decides_between_equals() -> None:
    young = pending(1, 0, user="a", submitted_at=later(-60))
    old = pending(2, 0, user="b", submitted_at=later(-3600))
    assert order(young, old) == [2, 1]


def test_beyond_the_greatest_age_nobody_grows_older() -> None:
    """Of two that have waited for so long, who has used less comes first, and so does the earlier number."""
    greatest = PriorityRules().max_age_seconds
    young = pending(1, 0, user="a", submitted_at=later(-greatest))
    old = pending(2, 0, user="b", submitted_at=later(-1000 * greatest))
    assert order(young, old) == [1, 2]
    assert order(young, old, usage={"b": Usage(1.0, NOW)}) == [1, 2]
    assert order(young, old, usage={"a": Usage(1.0, NOW)}) == [2, 1]


def test_age_counts_from_the_time_to_begin() -> None:
    begun = pending(1, 0, user="a", submitted_at=later(-7200), begin_at=later(-60))
    other = pending(2, 0, user="b", submitted_at=later(-3600))
    assert order(begun, other) == [2, 1]


def test_what_runs_counts_although_it_has_not_ended() -> None:
    decision = run([*jobs("a", 1, 1), *jobs("b", 2, 1)], gpus(2), [whole(9, 0, user="a")])
    assert started(decision) == [(2, "GPU-1")]


def test_free_devices_of_one_decision_are_spread_over_users() -> None:
    waiting = [*jobs("a", 1, 100), *jobs("b", 101, 100), *jobs("c", 201, 100)]
    users = [next(job.user for job in waiting if job.id == id) for id, _ in started(run(waiting, gpus(6)))]
    assert sorted(users) == ["a", "a", "b", "b", "c", "c"]


def test_shares_of_users_weigh() -> None:
    waiting = [*jobs("a", 1, 100), *jobs("b", 101, 100)]
    rules = Rules(shares=Shares(users={"a": 3.0}))
    ids = [id for id, _ in started(run(waiting, gpus(8), rules=rules))]
    assert sum(id <= 100 for id in ids) == 6


def test_members_share_the_weight_of_their_group() -> None:
    waiting = [*jobs("a", 1, 100), *jobs("b", 101, 100), *jobs("c", 201, 100)]
    rules = Rules(shares=Shares(groups={"vision": 1.0}))
    groups = {"a": ("users", "vision"), "b": ("vision",)}
    ids = [id for id, _ in started(run(waiting, gpus(8), rules=rules, groups=groups))]
    assert [sum(low <= id < low + 100 for id in ids) for low in (1, 101, 201)] == [2, 2, 4]


def test_a_group_does_not_gain_by_taking_turns() -> None:
    rules = Rules(shares=Shares(groups={"vision": 1.0, "speech": 1.0}))
    groups = {"a": ("vision",), "b": ("vision",), "c": ("speech",)}
    usage = {"a": Usage(1000.0, NOW), "c": Usage(900.0, NOW)}  # a rests, and b has used nothing
    assert order(*jobs("b", 1, 1), *jobs("c", 2, 1), rules=rules, groups=groups, usage=usage) == [2, 1]


def test_a_packed_job_is_charged_for_its_part() -> None:
    running = [packed(8, 0, 8, user="a"), whole(9, 1, user="b")]
    waiting = [*jobs("b", 1, 1), *jobs("a", 2, 1)]
    assert started(run(waiting, gpus(3), running)) == [(2, "GPU-2")]


def test_foreign_processes_are_charged_where_the_site_says_so() -> None:
    box = [node(gpu(0, processes=(Process(4711, "a", GIB, "python"),)), gpu(1))]
    waiting = [*jobs("a", 1, 1), *jobs("b", 2, 1)]
    assert started(run(waiting, box)) == [(1, "GPU-1")]
    charged = run(waiting, box, rules=Rules(foreign=ForeignPolicy.CHARGE))
    assert started(charged) == [(2, "GPU-1")]


def test_the_order_does_not_depend_on_the_order_of_the_snapshot() -> None:
    waiting = [*jobs("a", 1, 5), *jobs("b", 6, 5)]
    running = [whole(90, 0, user="a"), whole(91, 1, user="b"), whole(92, 2, user="b")]
    usage = {"a": Usage(0.1, NOW), "b": Usage(0.2, NOW)}
    forth = run(waiting, gpus(8), running, usage=usage)
    back = run(waiting[::-1], gpus(8), running[::-1], usage=dict(reversed(usage.items())))
    assert forth == back


def test_reasons_are_counted_as_they_are_told() -> None:
    """Whoever is first in the line: who asks for any device, for those of the only node, or for one of them."""
    places: list[dict[str, Any]] = [{}, {"node": "n"}, {"requested_gpu": 0}]
    for first, second in product(places, places):
        waiting = [
            pending(1, 1, user="a", **first), pending(2, 0, user="b", **second), pending(3, 0, user="b", **second),
            pending(4, 0, user="c", held=True), pending(5, 0, user="a", waits_for=(9,)),
        ]  # fmt: skip
        waits = run(waiting, gpus(2), [whole(8, 0), whole(9, 1)]).waits
        assert isinstance(waits, PendingReasons)
        assert waits.counts() == Counter(waits[job].reason for job in (1, 2, 3, 4, 5))
