"""News that wait to be told: each once, so many of a user within an hour, and when a time limit is near."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gpujobs.daemon.news.happenings import limit_due
from gpujobs.demand import Demand
from gpujobs.model import utc_now
from gpujobs.store.news import NewNews
from gpujobs.store.store import Store
from tests.unit.store.jobs import DEVICE, A, B, new_job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.db")
    opened.submit(A, "k", [new_job() for _ in range(4)])
    opened.submit(B, "k", [new_job()])
    yield opened
    opened.close()


def news(job: int, uid: int = A.uid) -> NewNews:
    return NewNews(job, None, uid, "end", f"end:{job}", "", "mail", ("a@x",), utc_now())


def test_what_is_one_too_many_within_an_hour_is_not_told_and_said_once(store: Store) -> None:
    said = [news(job) for job in (1, 2, 3)]
    assert [one.job for one in store.news.add(said, 7, per_hour=2)] == [3]
    assert store.news.add(said, None, per_hour=2) == []
    assert [one.job for one in store.news.add([news(4), news(5, B.uid)], None, per_hour=2)] == [4]
    assert sorted(one.job for one in store.news.waiting()) == [1, 2, 5]
    assert (store.news.made_since(A.uid, utc_now()), store.news.made_since(B.uid, utc_now())) == (2, 1)
    assert store.news.made_since(A.uid, utc_now() + timedelta(hours=1)) == 0


def test_the_mark_up_to_which_events_were_looked_at_never_goes_back(store: Store) -> None:
    for given, mark in ((7, 7), (3, 7), (8, 8)):
        store.news.go_on_after(given)
        assert store.news.cursor == mark


@pytest.mark.parametrize(("before", "left"), [(600.0, 10.0), (10.0, 10.0), (4.0, 4.0)])
def test_a_limit_is_near_some_time_before_it_and_at_most_its_tenth(
    store: Store, before: float, left: float
) -> None:
    assert limit_due(store.job(1), before) is None
    job = replace(store.start_attempt(1, DEVICE), demand=Demand(time_limit_seconds=100.0))
    assert job.current is not None
    assert limit_due(job, before) == (job.current.started_at + timedelta(seconds=100 - left), left)
