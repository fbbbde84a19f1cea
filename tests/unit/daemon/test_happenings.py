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
from gpujobs.lifecycle import Finish
from gpujobs.model import Device, DeviceKind, Job, Reason, State, iso, utc_now
from gpujobs.store.news import Happening
from gpujobs.store.store import Store
from tests.unit.store.jobs import DONE, A, complete, having, new_job

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


@pytest.mark.parametrize(
    ("waited", "begins", "told"),
    [
        (3600, None, True),
        (400, None, False),
        (0, 3600, False),  # it was to begin before it was submitted
        (3600, 300, False),
        (3600, 1200, True),
    ],
)
def test_a_start_is_told_of_after_ten_minutes_in_which_it_could_have_come(
    store: Store, waited: int, begins: int | None, told: bool
) -> None:
    """Seconds before now: of the submission, and of the earliest begin that was asked for."""
    now = utc_now()
    begin_at = None if begins is None else now - timedelta(seconds=begins)
    (job,) = store.submit(A, "key", [having(new_job(), begin_at=begin_at)])
    store.start_attempt(job.id, CPU)
    store.mark_running(job.id, 1, 99, now)
    store._connection.execute("DROP TRIGGER events_are_append_only_update")
    store._connection.execute("UPDATE events SET at = ?", (iso(now - timedelta(seconds=waited)),))
    found = [*news_of(store, [replace(happening(State.RUNNING, "start"), job=job.id, id=99)], TABLE)]
    assert [one.occasion for one in found] == (["start"] if told else [])
    assert all(one.detail.startswith("after it has waited for ") for one in found)


def test_a_group_has_failed_where_one_of_its_jobs_has_and_ends_anew_with_more(store: Store) -> None:
    def end(*steps: Finish) -> Any:
        jobs = store.submit(A, f"key {len(steps)}", [replace(new_job(), group="s")] * len(steps))
        for job, step in zip(jobs, steps, strict=True):
            complete(store, job.id, step)
        last = replace(
            happening(jobs[-1].state, "end", "failure"), job=jobs[-1].id, group_id=jobs[-1].group_id
        )
        (one,) = news_of(store, [replace(last, to_state=steps[-1].state)], TABLE)
        return one.occasion, one.what, jobs[0].group_id

    failed = Finish(State.FAILED, Reason.SIGNAL, "")
    occasion, what, group = end(failed, DONE)
    assert (occasion, what) == ("failure", f"end:g{group}:2")
    assert end(DONE, DONE, DONE)[0] == "end"


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
