"""Which of what ended jobs have left is to go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gpujobs.daemon.keeping.removal import FRESH, Kind, Left, Rules, chosen, records
from gpujobs.model import State, utc_now
from gpujobs.store.pruning import EndedJob

NOW = utc_now()
HOUR, DAY, TICK = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)


def left(job: int, age: timedelta, size: int = 1, uid: int = 1, kind: Kind = Kind.RESULTS) -> Left:
    return Left(kind, uid, "a", NOW - age, size, job)


def going(there: list[Left], rules: Rules, needed: tuple[int, ...] = ()) -> list[int | None]:
    return [one.job for one in chosen(there, rules, needed, NOW)]


def test_what_is_as_old_as_the_site_says_goes_the_oldest_first() -> None:
    there = [left(1, DAY), left(2, DAY - TICK), left(3, 2 * DAY), left(4, 3 * DAY, kind=Kind.LOGS)]
    assert going(there, Rules({Kind.RESULTS: DAY})) == [3, 1]
    assert going(there, Rules()) == []


def test_what_others_need_stays() -> None:
    there = [left(1, DAY), left(2, DAY)]
    assert going(there, Rules({Kind.RESULTS: HOUR}), needed=(1,)) == [2]
    assert going(there, Rules(sizes={Kind.RESULTS: 0}), needed=(1,)) == [2]


def test_of_too_much_a_users_own_oldest_goes_until_it_is_enough() -> None:
    there = [left(1, 3 * DAY, 5), left(2, 2 * DAY, 5), left(3, DAY, 5), left(4, 9 * DAY, 10, uid=2)]
    assert going(there, Rules(sizes={Kind.RESULTS: 15})) == []
    assert going(there, Rules(sizes={Kind.RESULTS: 14})) == [1]
    assert going(there, Rules(sizes={Kind.RESULTS: 9})) == [4, 1, 2]
    assert going(there, Rules({Kind.RESULTS: 3 * DAY}, {Kind.RESULTS: 10})) == [4, 1]


@pytest.mark.parametrize(("age", "goes"), [(FRESH - TICK, False), (FRESH, True)])
def test_data_that_has_just_come_may_belong_to_a_submission_on_its_way(age: timedelta, goes: bool) -> None:
    data = Left(Kind.DATA, 1, "a", NOW - age, 9, sha256="0" * 64)
    for rules in (Rules({Kind.DATA: timedelta()}), Rules(sizes={Kind.DATA: 1})):
        assert chosen([data], rules, (), NOW) == ([data] if goes else [])
    assert going([left(1, timedelta())], Rules({Kind.RESULTS: timedelta()})) == [1]


def ended(job: int, age: timedelta = DAY, group: int | None = None) -> EndedJob:
    return EndedJob(job, 1, "a", State.COMPLETED, NOW - age, group, None, False)


RULES = Rules({Kind.JOBS: DAY})


@pytest.mark.parametrize(
    ("jobs", "more", "gone"),
    [
        ([ended(1), ended(2, DAY - TICK), ended(3)], {}, [3, 1]),
        ([ended(1), ended(2)], {"remaining": {1}}, [2]),
        ([ended(1), ended(2)], {"staying": {2}}, [1]),
        ([ended(1, group=1), ended(2, group=1), ended(3)], {}, [3, 2, 1]),
        ([ended(1, group=1), ended(2, HOUR, group=1), ended(3)], {}, [3]),
        ([ended(1, group=1), ended(2, group=1), ended(3)], {"remaining": {2}}, [3]),
        ([ended(1)], {"rules": Rules({Kind.RESULTS: DAY})}, []),
    ],
)
def test_records_go_where_nothing_else_is_left_and_of_groups_all_or_none(
    jobs: list[EndedJob], more: dict[str, Any], gone: list[int]
) -> None:
    asked = {"remaining": (), "rules": RULES, "staying": (), "now": NOW, **more}
    assert [one.job for one in records(jobs, **asked)] == gone
