"""What may go of ended jobs, and what of them stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpujobs.lifecycle import Finish
from gpujobs.model import Reason, State
from gpujobs.store.records import DataReference
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, B, complete, having, new_job

FAILED = Finish(State.FAILED, Reason.TRAINING_ERROR, "")


@pytest.fixture
def ended(store: Store) -> Store:
    """Jobs 1 to 5 have ended; 2 went on from 1."""
    store.submit(A, "k", [new_job(), having(new_job(), continues=1), new_job(), new_job(), new_job()])
    for number in range(1, 6):
        complete(store, number, FAILED)
    return store


def test_what_an_unfinished_job_waits_for_goes_on_from_or_applies_is_needed(ended: Store) -> None:
    assert ended.pruning.needed() == frozenset()
    ended.submit(A, "1", [new_job(after=(3,))])
    ended.submit(A, "2", [having(new_job(), continues=2)])
    ended.submit(A, "3", [replace(new_job(), resolved={"name": "p", "model": {"job": 4}})])
    assert ended.pruning.needed() == {1, 2, 3, 4}, "of 2, also what it went on from"
    assert ended.pruning.unfinished() == {6, 7, 8}
    for number in (6, 7, 8):
        ended.cancel_pending(number, "a", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    assert ended.pruning.needed() == frozenset()


def test_data_that_no_unfinished_job_of_its_user_uses_may_go(store: Store) -> None:
    for caller, letters in ((A, "abc"), (B, "ab")):
        for letter in letters:
            store.uploads.add(caller.uid, letter * 64, 1)

    def using(letter: str, in_place: str | None = None) -> tuple[DataReference, ...]:
        return (DataReference("d", letter * 64, 1, in_place),)

    store.submit(A, "1", [having(new_job(), data=using("a"))])
    store.submit(A, "2", [having(new_job(), data=using("b", "/d"))])
    unused = {(one.uid, one.sha256[0], one.user) for one in store.pruning.unused_data()}
    assert unused == {(A.uid, "b", "a"), (A.uid, "c", "a"), (B.uid, "a", None), (B.uid, "b", None)}
    last = complete(store, 1).ended_at
    assert {(one.sha256[0], one.last_used_at) for one in store.pruning.unused_data() if one.uid == A.uid} >= {
        ("a", last)
    }


def test_of_a_group_none_goes_as_long_as_one_lives(store: Store) -> None:
    store.submit(A, "k", [having(new_job(), group="s", group_start=0) for _ in range(2)])
    complete(store, 1)
    assert store.pruning.in_living_groups() == {1, 2}
    complete(store, 2)
    assert store.pruning.in_living_groups() == frozenset()


def test_what_was_used_outlives_the_records_and_the_text_stays_for_others(store: Store) -> None:
    job = having(new_job(), family="f")
    store.submit(A, "k", [job, job, replace(job, source="name: other")])
    ended = [complete(store, number) for number in (1, 2, 3)]
    store.usage.set_peak(1, 1, 70)
    store.usage.set_peak(2, 1, 50)
    before = store.usage.since(ended[0].submitted_at)
    store.pruning.delete([1, 3])
    assert [job.id for job in store.ended()] == [2]
    assert store.spec(2).source == "name: j"
    assert store.usage.since(ended[0].submitted_at) == before and len(before) == 3
    assert store.usage.peaks() == {"f": 70}
    rows, is_whole = store.report_rows(ended[0].submitted_at, ended[2].ended_at)  # type: ignore[arg-type]
    assert sorted(row["job"] or 0 for row in rows) == [0, 0, 2] and is_whole
    assert store.highest_number() == 3


@pytest.mark.parametrize("first", [1, 2])
def test_of_the_peaks_of_two_removals_the_higher_stays(store: Store, first: int) -> None:
    job = having(new_job(), family="f")
    store.submit(A, "k", [job, job])
    for number, peak in ((1, 70), (2, 50)):
        complete(store, number)
        store.usage.set_peak(number, 1, peak)
    for number in (first, 3 - first):
        store.pruning.delete([number])
        assert store.usage.peaks() == {"f": 70}


def test_no_job_waits_for_one_that_is_no_more(ended: Store) -> None:
    ended.submit(A, "1", [new_job(after=(3, 4))])
    ended.cancel_pending(6, "a", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    ended.pruning.delete([3])
    assert list(ended.job(6).demand.awaits) == [4]


def test_what_was_queued_again_has_the_first_that_is_left_for_the_first(ended: Store) -> None:
    ended.submit(A, "1", [having(new_job(), continues=3, origin=3)])
    ended.submit(A, "2", [having(new_job(), continues=6, origin=3)])
    complete(ended, 6)
    ended.pruning.delete([3])
    assert [(job.id, job.origin, job.continues) for job in ended.jobs([6, 7])] == [(6, None, None), (7, 6, 6)]


def test_results_that_were_removed_are_noted_with_who_did_it(ended: Store) -> None:
    ended.pruning.forget_results(1, "root", "its results (0 bytes) were removed by root")
    job = ended.job(1)
    assert (job.results, job.results_removed_by) == (None, "root") and job.results_removed_at is not None
    assert ended.note_of_removal(1, "results") == "of job 1, its results (0 bytes) were removed by root"
    assert ended.note_of_removal(1, "logs") is None
    found = {one.id: (one.results, one.are_results_removed) for one in ended.pruning.ended()}
    assert found[1] == (None, True) and found[2] == ("/r", False)
