"""What is news of a job's end, of its start and of its time limit, with a real store and nobody who is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config.news import NotifyTable
from gpujobs.daemon.news.happenings import limit_due, limit_near, news_of
from gpujobs.jobfile.recipients import wish
from gpujobs.model import Device, DeviceKind, Job, Reason, State, utc_now
from gpujobs.store.news import Happening
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, having, new_job

CPU = Device("n", DeviceKind.CPU, 0, "CPU-n-0", "cpu")
TABLE = NotifyTable()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


def happening(to_state: State, *on: str) -> Happening:
    notify = {"on": list(on), "to": ["ada@example.org"]}
    return Happening(1, 7, A.uid, None, utc_now(), "state", 1, to_state, Reason.NONE, "", notify, None)


@pytest.mark.parametrize(
    ("state", "on", "occasions"),
    [
        (State.COMPLETED, ["failure"], []),
        (State.COMPLETED, ["end"], ["end"]),
        (State.COMPLETED, ["end", "failure"], ["end"]),
        (State.FAILED, ["failure"], ["failure"]),
        (State.TIMEOUT, ["failure"], ["failure"]),
        (State.FAILED, ["end"], ["end"]),
        (State.FAILED, ["end", "failure"], ["failure"]),
        (State.FAILED, ["start"], []),
    ],
)
def test_an_end_is_told_as_what_was_asked_for(
    store: Store, state: State, on: list[str], occasions: list[str]
) -> None:
    assert [one.occasion for one in news_of(store, [happening(state, *on)], TABLE)] == occasions


def test_an_end_is_one_thing_whether_it_is_told_as_an_end_or_as_a_failure(store: Store) -> None:
    """Somebody who asks for another of the two meanwhile is told once."""
    ends = [happening(State.FAILED, "end"), happening(State.FAILED, "failure")]
    first, second = (one.what for end in ends for one in news_of(store, [end], TABLE))
    assert first == second


def running(store: Store, seconds: float | None) -> Job:
    (job,) = store.submit(A, "key", [having(new_job(), time_limit_seconds=seconds)])
    store.start_attempt(job.id, CPU)
    return store.mark_running(job.id, 1, 99, utc_now())


@pytest.mark.parametrize(("limit", "left"), [(100.0, 10.0), (6000.0, 600.0), (36000.0, 600.0)])
def test_a_limit_is_near_ten_minutes_before_and_of_short_jobs_in_the_last_tenth(
    store: Store, limit: float, left: float
) -> None:
    job = running(store, limit)
    assert job.current is not None
    assert limit_due(job, 600.0) == (job.current.started_at + timedelta(seconds=limit - left), left)


def test_without_a_limit_none_is_near(store: Store) -> None:
    assert limit_due(running(store, None), 600.0) is None


def test_a_limit_that_was_raised_is_told_of_anew_and_the_same_is_not(store: Store) -> None:
    def what(job: Job) -> Any:
        wanted = wish({"on": ["time_limit"], "to": ["ada@example.org"]}, None)
        assert wanted is not None
        (one,) = limit_near(job, wanted, utc_now(), 10.0)
        return one.what

    job = running(store, 100.0)
    assert what(job) == what(job)
    assert what(replace(job, demand=replace(job.demand, time_limit_seconds=200.0))) != what(job)
    assert what(replace(job, attempt=2)) != what(job)
