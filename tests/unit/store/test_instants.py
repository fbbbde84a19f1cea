"""From which instant on, and until which: at the borders themselves, and a microsecond beside them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gpujobs.model import utc_now
from gpujobs.policy import Reservation
from gpujobs.store import report, timeline
from gpujobs.store.records import Wanted
from gpujobs.store.store import Store
from tests.unit.store.jobs import DEVICE, A, B, complete, new_job

TICK, LONG = timedelta(microseconds=1), timedelta(hours=1)


def test_since_is_from_that_instant_on(store: Store) -> None:
    """Job 1 has ended, job 2 was submitted after it and waits."""
    store.submit(A, "1", [new_job()])
    ended = complete(store, 1).ended_at
    (waits,) = store.submit(A, "2", [new_job()])
    assert ended is not None and ended < waits.submitted_at
    for since, found in ((ended - TICK, [1, 2]), (ended, [1, 2]), (ended + TICK, [2])):
        assert [job.id for job in store.matching(Wanted(since=since))] == found
        assert [job.id for job in store.outlines(since=since)] == found[:-1]
    assert [job.id for job in store.matching(Wanted(since=waits.submitted_at))] == [2]
    assert store.matching(Wanted(since=waits.submitted_at + TICK)) == []


def test_a_range_has_both_its_ends_and_a_user_their_own(store: Store) -> None:
    for number in range(4):
        store.submit(A if number % 2 else B, str(number), [new_job()])
    assert [job.id for job in store.matching(Wanted(first=2, last=3))] == [2, 3]
    assert [job.id for job in store.matching(Wanted(uid=A.uid))] == [2, 4]
    assert [job.id for job in store.matching(Wanted(user="b", last=2))] == [1]


@pytest.fixture
def span(store: Store) -> tuple[datetime, datetime]:
    """When the only attempt began and ended."""
    store.submit(A, "1", [new_job()])
    complete(store, 1)
    (attempt,) = store.attempts(1)
    assert attempt.ended_at is not None
    return attempt.started_at, attempt.ended_at


@pytest.mark.parametrize(
    ("since", "until", "is_in"),
    [(TICK, LONG, True), (timedelta(), LONG, False), (LONG, TICK, True), (LONG, timedelta(), False)],
    ids=["ends just after it begins", "ends as it begins", "begins just before it ends", "begins as it ends"],
)
def test_what_touches_a_time_is_in_it(
    store: Store, span: tuple[datetime, datetime], since: timedelta, until: timedelta, is_in: bool
) -> None:
    """`since` before the attempt's end, `until` after its begin."""
    begin, end = span[1] - since, span[0] + until
    assert len(store.report_rows(begin, end)[0]) == is_in
    assert len(store.timeline(begin, end).attempts) == is_in


def test_what_runs_has_no_end_yet(store: Store) -> None:
    store.submit(A, "1", [new_job()])
    store.start_attempt(1, DEVICE)
    later = utc_now() + LONG
    assert (
        len(store.report_rows(later, later + LONG)[0])
        == len(store.timeline(later, later + LONG).attempts)
        == 1
    )


def test_use_is_counted_of_what_ended_later(store: Store, span: tuple[datetime, datetime]) -> None:
    assert [one.ended_at for one in store.usage.since(span[1] - TICK)] == [span[1]]
    assert store.usage.since(span[1]) == []


def test_reservations_are_those_that_are_not_over_and_not_cancelled(store: Store) -> None:
    now = utc_now()
    spans = [(LONG, 2 * LONG), (-LONG, LONG), (-LONG, -TICK), (timedelta(), LONG)]
    made = [
        store.reservations.add(Reservation(0, f"CPU-{n}", now + a, now + b, "a", None), "root")
        for n, (a, b) in enumerate(spans)
    ]
    store.reservations.cancel(made[3].id, "root")
    assert store.reservations.current() == [made[1], made[0]]


@pytest.mark.parametrize(("count", "is_whole"), [(1, True), (2, True), (3, False)])
def test_what_is_too_much_is_left_out_and_said(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int, is_whole: bool
) -> None:
    """Of attempts, of reservations and of what happened to devices, the newest."""
    monkeypatch.setattr(timeline, "MOST", 2)
    monkeypatch.setattr(report, "MOST", 2)
    begin = utc_now() - LONG
    for number in range(count):
        store.devices.note(f"GPU-{number}", "stranger", "gpujobs", "x")
    events = store.timeline(begin, utc_now() + LONG)
    assert (len(events.device_events), events.is_whole) == (min(count, 2), is_whole)
    for number in range(count):
        store.submit(A, f"{number}", [new_job()])
        complete(store, number + 1)
    rows, end = store.timeline(begin, utc_now() + LONG), utc_now() + LONG
    assert ([row["job"] for row in rows.attempts], rows.is_whole) == ([1, 2, 3][:count][-2:], is_whole)
    attempts, all_of_them = store.report_rows(begin, end)
    assert (len(attempts), all_of_them) == (min(count, 2), is_whole)
    assert store.problems() == []
