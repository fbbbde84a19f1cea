"""The rows of the queue, and what references mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.daemon.handlers import CHANGES
from gpujobs.daemon.handlers.changing import sorted_out
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.listing import describe_groups, describe_job
from gpujobs.daemon.jobs.references import choose
from gpujobs.errors import UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Job, Reason, State, utc_now
from gpujobs.policy import PendingReason
from gpujobs.store.store import Store
from gpujobs.view.order import rows
from tests.unit.daemon.queued import job
from tests.unit.store.jobs import DEVICE, A, B, complete, new_job
from tests.unit.store.sweeps import sweep

ACTIONS = {module.ACTION.verb: module.ACTION for module in CHANGES}

FAILED = Finish(State.FAILED, Reason.SIGNAL, "")


def shown(*arguments: object, **options: object) -> list[object]:
    return [f"g{row}" if isinstance(row, int) else row.id for row in rows(*arguments, **options)]  # type: ignore[arg-type]


def test_what_runs_comes_first_and_what_has_ended_last() -> None:
    jobs = [
        job(1, State.COMPLETED), job(2, State.FAILED), job(3), job(4, priority=5), job(5, State.RUNNING),
        job(6, State.STARTING), job(7, State.COMPLETING),
    ]  # fmt: skip
    assert shown(jobs, unfolded=False) == [5, 6, 7, 4, 3, 2, 1]


def test_a_group_stands_where_the_first_of_its_jobs_would() -> None:
    jobs = [job(1), job(2, group=2), job(3, State.RUNNING, group=2), job(4, State.COMPLETED, group=2), job(5)]
    assert shown(jobs, unfolded=False) == ["g2", 1, 5]
    assert shown(jobs, unfolded=True) == ["g2", 3, 2, 4, 1, 5]
    assert shown(jobs, unfolded=True, alone={2}) == ["g2", 3, 4, 1, 2, 5]


jobs = st.lists(
    st.tuples(st.sampled_from(State), st.none() | st.integers(1, 4), st.integers(-2, 2)), max_size=20
).map(lambda drawn: [job(n, state, group, priority) for n, (state, group, priority) in enumerate(drawn, 10)])


@given(jobs, st.booleans())
def test_every_job_has_its_row_once(given_jobs: list[Job], unfolded: bool) -> None:
    found = rows(given_jobs, unfolded=unfolded)
    groups = [row for row in found if isinstance(row, int)]
    assert sorted(groups) == sorted({job.group_id for job in given_jobs if job.group_id is not None})
    ids = sorted(row.id for row in found if isinstance(row, Job))
    assert ids == [job.id for job in given_jobs if unfolded or job.group_id is None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.db")
    opened.submit(A, "k1", [new_job("alone"), *sweep("a", 3, 1)])
    opened.submit(B, "k1", sweep("a", 2))
    opened.submit(A, "k2", [*sweep("7", 1), *sweep("g2", 1, 1)])
    yield opened
    opened.close()


def test_how_far_a_group_is_and_why_it_waits(store: Store) -> None:
    complete(store, 2)
    cache = JobCache(store.unfinished())
    cache.waits = {3: PendingReason(Reason.RESOURCES, "all is taken"), 4: PendingReason(Reason.PRIORITY, "")}
    found = describe_groups(cache, store.groups([2]), A)[2]
    assert (found["jobs"], found["counts"]) == (3, {"COMPLETED": 1, "PENDING": 2})
    assert (found["state"], found["reason"], found["message"]) == ("PENDING", "Resources", "all is taken")
    assert found["progress"] == pytest.approx(1 / 3)
    cache.put(store.start_attempt(3, DEVICE))
    cache.set_progress(3, {"epoch": 3, "epochs": 4, "loss": 1.0})
    found = describe_groups(cache, store.groups([2]), A)[2]
    assert (found["state"], found["reason"]) == ("STARTING", "")
    assert found["progress"] == pytest.approx((1 + 0.75) / 3)


def test_the_last_progress_of_an_attempt_is_the_one_of_its_record(store: Store) -> None:
    """What is told on the way comes a few times a second; the end of a short job would be lost."""
    cache = JobCache(store.unfinished())
    cache.put(store.start_attempt(1, DEVICE))
    cache.put(store.mark_running(1, 1, 4711, utc_now()))
    cache.set_progress(1, {"epoch": 1, "epochs": 4})
    cache.put(store.mark_completing(1, 1, {"progress": {"epoch": 4, "epochs": 4}}))
    cache.set_progress(1, {"epoch": 2, "epochs": 4})
    assert describe_job(cache, store.job(1), A, None)["progress"]["epoch"] == 4


@pytest.mark.parametrize(
    ("references", "ids", "members"),
    [
        ([1], [1], []),
        (["g2"], [2, 3, 4], [2, 3, 4]),
        (["a"], [2, 3, 4], [2, 3, 4]),
        ([3, "a", "g2", "1", 3], [3, 1, 2, 4], [2, 4]),
        # Digits are a job, g and digits a group by its id, whatever groups are called.
        (["7"], [7], []),
        (["g2", "g7", "g8"], [2, 3, 4, 7, 8], [2, 3, 4, 7, 8]),
        ([], [], []),
    ],
)
def test_what_a_reference_means(
    store: Store, references: list[int | str], ids: list[int], members: list[int]
) -> None:
    chosen = choose(store, A, references)
    assert (chosen.ids, sorted(chosen.members)) == (ids, members)


def test_a_name_is_of_the_callers_own_groups(store: Store) -> None:
    assert choose(store, B, ["a"]).ids == [5, 6]
    for reference in ("alone", "g1", "g3", "g0", "G2", "g99999999999999999999", "g", ""):
        with pytest.raises(UsageError, match="does not exist"):
            choose(store, A, [reference])


def test_a_change_of_a_group_is_for_the_jobs_that_it_fits(store: Store) -> None:
    store.submit(A, "k3", sweep("many", 5))
    (first, *_) = (one.id for one in store.members(store.newest_group(A.uid, "many")))
    complete(store, first)
    complete(store, first + 1, FAILED)
    store.start_attempt(first + 2, DEVICE)
    store.set_held(first + 3, True, "a")

    def those(action: str) -> list[int]:
        jobs, _ = sorted_out(choose(store, A, [f"g{first}"]), ACTIONS[action])
        return [one.id - first for one in jobs]

    assert those("cancel") == [2, 3, 4]
    assert those("hold") == [4]
    assert those("release") == [3]
    assert those("requeue") == [1]
    (copy,) = store.submit(A, "again", [replace(sweep("many", 2)[1], joins=first, origin=first + 1)])
    assert those("requeue") == []
    complete(store, copy.id, FAILED)
    assert those("requeue") == [copy.id - first]


def test_changes_together_are_all_or_none(store: Store) -> None:
    with pytest.raises(UsageError, match="only a PENDING job"), store.together():
        store.set_held(1, True, "a")
        complete(store, 2)
        store.set_held(2, True, "a")
    assert (store.job(1).held, store.job(2).state) == (False, State.PENDING)
    with store.together():
        store.set_held(1, True, "a")
        store.set_held(3, True, "a")
    assert [store.job(number).held for number in (1, 2, 3)] == [True, False, True]
