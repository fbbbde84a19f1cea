"""The store on a real SQLite file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gpujobs.demand import Dependencies
from gpujobs.errors import StoreError, UsageError
from gpujobs.lifecycle import Finish, IllegalTransitionError, Requeue
from gpujobs.model import Reason, Share, State, utc_now
from gpujobs.store.database import connect, migrations
from gpujobs.store.store import StaleTransitionError, Store
from tests.unit.store.jobs import DEVICE, DONE, A, B, complete, having, new_job


def test_a_whole_life_is_told_by_its_events(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    assert (job.state, job.attempt, job.user) == (State.PENDING, 0, "a")
    ended = complete(store, job.id)
    assert (ended.state, ended.results, ended.attempt) == (State.COMPLETED, "/r", 1)
    assert [event.to_state for event in store.events(job.id)] == [
        State.PENDING,
        State.STARTING,
        State.RUNNING,
        State.COMPLETING,
        State.COMPLETED,
    ]
    (attempt,) = store.attempts(job.id)
    assert (attempt.pid, attempt.exit_code, attempt.device_uuid) == (99, 0, "CPU-n-0")


def test_the_same_request_makes_one_job(store: Store) -> None:
    first = store.submit(A, "k", [new_job("x"), new_job("y")])
    again = store.submit(A, "k", [new_job("x"), new_job("y")])
    assert [job.id for job in first] == [job.id for job in again]
    other = store.submit(B, "k", [new_job()])
    assert other[0].id not in {job.id for job in first}


def test_a_final_state_is_left_by_nothing(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    complete(store, job.id)
    with pytest.raises(StaleTransitionError):
        store.start_attempt(job.id, DEVICE)
    with pytest.raises(StaleTransitionError):
        store.finish(job.id, DONE, None)
    with pytest.raises(IllegalTransitionError):
        store.requeue(job.id, 1, Requeue(Reason.RETRY, "", True))


def test_the_database_itself_guards_final_states_and_events(store: Store, tmp_path: Path) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    complete(store, job.id)
    raw = sqlite3.connect(tmp_path / "s.db")
    try:
        for statement, message in (
            ("UPDATE jobs SET state = 'PENDING'", "left by nothing"),
            ("UPDATE events SET kind = 'x'", "append-only"),
            ("DELETE FROM events", "append-only"),
        ):
            with pytest.raises(sqlite3.IntegrityError, match=message):
                raw.execute(statement)
    finally:
        raw.close()


def test_never_two_live_attempts(store: Store, tmp_path: Path) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    store.start_attempt(job.id, DEVICE)
    with pytest.raises(StaleTransitionError):
        store.start_attempt(job.id, DEVICE)
    raw = sqlite3.connect(tmp_path / "s.db")
    try:
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(
                "INSERT INTO attempts (job, number, node, device_uuid, device_kind, device_index, device_name,"
                " started_at) VALUES (1, 2, 'n', 'u', 'cpu', 0, 'c', '')"
            )
    finally:
        raw.close()


def test_requeue_counts_only_what_is_the_jobs_fault(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    store.start_attempt(job.id, DEVICE)
    back = store.requeue(job.id, 1, Requeue(Reason.RETRY, "interrupted", False))
    assert (back.state, back.retries_used) == (State.PENDING, 0)
    store.start_attempt(job.id, DEVICE)
    store.mark_completing(job.id, 2, {"state": "FAILED", "reason": "Signal", "exit": {"signal": 11}})
    back = store.requeue(job.id, 2, Requeue(Reason.RETRY, "crashed", True))
    assert (back.state, back.retries_used, back.attempt) == (State.PENDING, 1, 2)
    assert [attempt.exit_signal for attempt in store.attempts(job.id)] == [None, 11]


def test_a_late_report_of_an_earlier_attempt_changes_nothing(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    store.start_attempt(job.id, DEVICE)
    store.requeue(job.id, 1, Requeue(Reason.RETRY, "", False))
    store.start_attempt(job.id, DEVICE)
    with pytest.raises(StaleTransitionError):
        store.mark_running(job.id, 1, 5, utc_now())
    with pytest.raises(StaleTransitionError):
        store.mark_completing(job.id, 1, {"state": "COMPLETED"})
    assert store.job(job.id).state is State.STARTING


def test_what_is_said_of_another_attempt_than_the_present_one_moves_no_job(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    again = Requeue(Reason.RETRY, "again", True)
    store.start_attempt(job.id, DEVICE)
    store.requeue(job.id, 1, again)
    store.start_attempt(job.id, DEVICE)
    for attempt in (1, 3):
        for step in (
            lambda number: store.requeue(job.id, number, again),
            lambda number: store.mark_running(job.id, number, 9, utc_now()),
            lambda number: store.mark_completing(job.id, number, {}),
        ):
            with pytest.raises(StaleTransitionError):
                step(attempt)
    present = store.job(job.id)
    assert (present.state, present.attempt, present.retries_used) == (State.STARTING, 2, 1)


def test_dependencies_of_a_failed_job_are_found(store: Store) -> None:
    (first,) = store.submit(A, "k1", [new_job()])
    (second,) = store.submit(A, "k2", [new_job(after=(first.id,))])
    assert store.job(second.id).demand.awaits.after == (first.id,)
    assert store.blocked_for_good() == {}
    complete(store, first.id, Finish(State.FAILED, Reason.SIGNAL, ""))
    assert store.blocked_for_good() == {second.id: f"job {first.id} ended FAILED"}


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMEOUT])
def test_who_waits_for_any_end_waits_in_vain_for_none(store: Store, state: State) -> None:
    """Of the others: who waits for success where there was none, and for a failure where there was success."""
    store.submit(A, "k", [new_job(), new_job(after=(1,)), having(new_job(), after_any=(1,))])
    store.submit(A, "l", [having(new_job(), after_failed=(1,))])
    assert store.blocked_for_good() == {}
    complete(store, 1, Finish(state, Reason.NONE, ""))
    blocked = store.blocked_for_good()
    if state is State.COMPLETED:
        assert blocked == {4: "job 1 has completed, and it was to start only after a failure"}
    else:
        assert blocked == {2: f"job 1 ended {state}"}


def test_unknown_ids_are_named(store: Store) -> None:
    store.submit(A, "k", [new_job()])
    with pytest.raises(UsageError, match="jobs 98, 99 do not exist"):
        store.jobs([1, 98, 99])
    with pytest.raises(UsageError, match="job 99 does not exist"):
        store.job(99)


def test_data_belongs_to_who_uploaded_it(store: Store) -> None:
    store.uploads.add(A.uid, "0" * 64, 10)
    assert store.uploads.has(A.uid, "0" * 64)
    assert not store.uploads.has(B.uid, "0" * 64)


def test_ended_keeps_the_newest_in_order(store: Store) -> None:
    jobs = store.submit(A, "k", [new_job(str(i)) for i in range(5)])
    for job in jobs:
        complete(store, job.id)
    assert [job.id for job in store.ended(limit=2)] == [4, 5]
    assert store.counts() == {"COMPLETED": 5}


def test_what_has_ended_is_outlined_by_user_state_and_instant(store: Store, tmp_path: Path) -> None:
    """As the jobs themselves, of which nothing more is read."""
    store.submit(A, "k", [replace(new_job("mine"), group="g") for _ in range(3)])
    store.submit(B, "k", [new_job("hers"), new_job("waits")])
    for number in (2, 1, 4):
        complete(store, number)
    complete(store, 3, Finish(State.FAILED, Reason.TIME_LIMIT, "broken"))
    jobs = store.jobs([1, 2, 3, 4])
    fields_of = ("id", "name", "uid", "user", "state", "share", "group", "group_id")
    assert [tuple(getattr(one, name) for name in fields_of) for one in store.outlines()] == [
        tuple(getattr(job, name) for name in fields_of) for job in jobs
    ]
    for since in (job.ended_at for job in jobs):
        assert since is not None
        expected = [job.id for job in jobs if job.ended_at is not None and job.ended_at >= since]
        assert [one.id for one in store.outlines(since=since)] == expected
    assert [one.id for one in store.outlines(user="b")] == [4]
    assert [one.id for one in store.outlines(states={State.FAILED}, user="a")] == [3]
    with sqlite3.connect(tmp_path / "s.db") as database:
        plan = database.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE coalesce(ended_at, submitted_at) >= 'x'"
        ).fetchall()
    assert "jobs_ended" in str(plan)


def test_a_committed_job_survives_kill_9(tmp_path: Path) -> None:
    """A child submits, says so, and is killed at once; the job must be there."""
    program = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from tests.unit.store.jobs import A, new_job
from gpujobs.store.store import Store
from pathlib import Path
from typing import Any
store = Store(Path({str(tmp_path / "s.db")!r}))
print(store.submit(A, "k", [new_job()])[0].id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert child.returncode == -9, child.stderr
    store = Store(tmp_path / "s.db")
    assert [job.id for job in store.unfinished()] == [int(child.stdout)]
    store.close()


def test_the_file_is_private(store: Store, tmp_path: Path) -> None:
    store.submit(A, "k", [new_job()])
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path / "s.db")
    connection.execute(f"PRAGMA user_version = {migrations()[-1][0] + 1}")
    connection.close()
    with pytest.raises(StoreError, match="install the newer gpujobs"):
        connect(tmp_path / "s.db")


def test_something_else_than_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("this is not a database, it is a text that is long enough" * 100)
    with pytest.raises(StoreError, match="not a database"):
        connect(tmp_path / "s.db")


def test_a_full_disk_is_an_error_and_stores_nothing(store: Store) -> None:
    store.submit(A, "k", [new_job()])
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        store.submit(A, "k2", [new_job("n" * 5000) for _ in range(50)])
    assert [job.name for job in store.unfinished()] == ["j"]


def test_an_older_database_gets_what_is_new(tmp_path: Path) -> None:
    """Made by the first version: its jobs are private."""
    raw = sqlite3.connect(tmp_path / "s.db")
    raw.executescript(f"{migrations()[0][1]}; PRAGMA user_version = 1;")
    raw.execute("INSERT INTO specs (path, source, resolved) VALUES ('j', '', '{}')")
    raw.execute(
        "INSERT INTO jobs (uid, gid, user, request_key, request_index, name, spec, priority, held, retries,"
        " submitted_at) VALUES (1, 1, 'a', 'k', 0, 'j', 1, 0, 0, 0, '2026-01-01T00:00:00.000000Z')"
    )
    raw.commit()
    raw.close()
    store = Store(tmp_path / "s.db")
    assert store.job(1).share is Share.PRIVATE
    store.close()


def test_changes_are_events_with_who_made_them(store: Store) -> None:
    (job,) = store.submit(A, "k", [replace(new_job(), share=Share.LAB)])
    assert store.job(job.id).share is Share.LAB
    assert store.set_priority(job.id, 5, "carol").demand.priority == 5
    store.start_attempt(job.id, DEVICE)
    store.note_requeue(job.id, "carol")
    told = [(event.kind, event.actor, event.message) for event in store.events(job.id)]
    assert told[1] == ("prioritized", "carol", "from 0 to 5")
    assert told[3][:2] == ("requeue_requested", "carol")
    (copy,) = store.submit(A, "k2", [new_job()], actor="carol")
    assert (copy.user, store.events(copy.id)[0].actor) == ("a", "carol")


def test_each_change_is_told_by_its_own_word(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    store.set_held(job.id, True, "a")
    store.set_held(job.id, False, "b")
    store.set_priority(job.id, 3, "root")
    store.set_time_limit(job.id, 90, "a")
    store.set_time_limit(job.id, None, "a")
    store.begin_anew(job.id, "a")
    store.start_attempt(job.id, DEVICE)
    store.request_finish(job.id, "a")
    store.note_requeue(job.id, "b")
    store.request_cancel(job.id, "c", "cancelled by c")
    told = [(one.kind, one.actor, one.message) for one in store.events(job.id) if one.kind != "state"]
    assert told[1:] == [
        ("held", "a", ""),
        ("released", "b", ""),
        ("prioritized", "root", "from 0 to 3"),
        ("limited", "a", "time limit from none to 1m30s"),
        ("limited", "a", "time limit from 1m30s to none"),
        ("begins_anew", "a", "it begins anew, without its checkpoint"),
        ("finish_requested", "a", "the training ends after its epoch, as if that had been the last"),
        ("requeue_requested", "b", ""),
        ("cancel_requested", "c", "cancelled by c"),
    ]
    present = store.job(job.id)
    assert (present.finish, present.cancel_requested, present.begins_anew, present.held) == (
        True,
        True,
        True,
        False,
    )
    assert (present.demand.priority, present.demand.time_limit_seconds) == (3, None)
    assert (store.requeue_wanted(job.id, 1), store.requeue_wanted(job.id, 2)) == ("requeued by b", "")


def test_what_has_ended_has_no_priority(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    complete(store, job.id)
    with pytest.raises(UsageError, match="only a job that has not ended"):
        store.set_priority(job.id, 5, "a")


def test_data_that_no_job_needs_is_known_the_oldest_first(store: Store) -> None:
    for number in range(3):
        store.uploads.add(A.uid, f"{number}" * 64, 10)
    store.uploads.add(B.uid, "7" * 64, 10)
    (job,) = store.submit(A, "k", [new_job()])  # uses the first
    assert store.uploads.bytes_of(A.uid) == 30
    assert [sha256[0] for sha256, _ in store.uploads.unused(A.uid, utc_now())] == ["1", "2"]
    assert store.uploads.unused(A.uid, utc_now() - timedelta(hours=1)) == []
    complete(store, job.id)
    assert [sha256[0] for sha256, _ in store.uploads.unused(A.uid, utc_now())] == ["0", "1", "2"]
    store.uploads.forget(A.uid, "0" * 64)
    assert (store.uploads.bytes_of(A.uid), store.uploads.bytes_of(B.uid)) == (20, 10)


@pytest.mark.parametrize("job", [0, 1 << 63, 10**30])
def test_a_number_that_no_job_can_have_does_not_exist(store: Store, job: int) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        store.job(job)
    with pytest.raises(UsageError, match="does not exist"):
        store.jobs([job])


def test_a_file_is_stored_once_for_all_its_jobs(store: Store) -> None:
    """However long the text is that a sweep of thousands has."""
    text = "# a comment\n" * 10_000
    jobs = store.submit(A, "k", [replace(new_job(str(n)), source=text) for n in range(2000)])
    assert store.spec(jobs[0].id).source == store.spec(jobs[-1].id).source == text
    (stored,) = store._connection.execute("SELECT sum(length(source)) FROM specs").fetchone()
    assert stored == len(text)
    (other,) = store.submit(A, "k2", [replace(new_job(), source="other")])
    assert store.spec(other.id).source == "other"


def test_a_submission_that_unfolds_too_far_stores_nothing(store: Store) -> None:
    large = replace(new_job(), resolved={"name": "x" * (1 << 20)})
    with pytest.raises(UsageError, match="more than 64 MiB in the store"):
        store.submit(A, "k", [large] * 100)
    assert store.unfinished() == []


@pytest.mark.parametrize(
    ("ends", "of_group", "blocked"),
    [
        ((State.COMPLETED,), False, True),
        ((State.FAILED,), False, False),
        ((State.COMPLETED, State.FAILED), True, False),
        ((State.COMPLETED, State.FAILED), False, True),
        ((State.COMPLETED, State.COMPLETED), True, True),
        ((State.COMPLETED, None), True, False),
    ],
)
def test_what_waits_for_a_failure(
    store: Store, ends: tuple[State | None, ...], of_group: bool, blocked: bool
) -> None:
    """Each that is named must fail; of a group one must."""
    jobs = store.submit(A, "k", [new_job() for _ in ends])
    numbers = tuple(job.id for job in jobs)
    groups = dict.fromkeys(numbers, 1) if of_group else {}
    new = having(new_job(), after_failed=numbers, groups=groups)
    (waiting,) = store.submit(A, "w", [new])
    assert waiting.demand.awaits == Dependencies(after_failed=numbers, groups=groups)
    for job, state in zip(jobs, ends, strict=True):
        if state is not None:
            complete(store, job.id, replace(DONE, state=state))
    assert (waiting.id in store.blocked_for_good()) is blocked


def test_who_cancelled_and_why_outlasts_what_the_trainer_says(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    store.start_attempt(job.id, DEVICE)
    store.mark_running(job.id, 1, 99, utc_now())
    store.request_cancel(job.id, "root", "cancelled by root: a lecture")
    ended = store.mark_completing(job.id, 1, {"state": "CANCELLED", "message": "cancelled"})
    assert ended.message == "cancelled by root: a lecture"
    assert store.events(job.id)[-2].message == "cancelled by root: a lecture"


def test_a_job_has_started_when_its_first_attempt_did(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    first = store.start_attempt(job.id, DEVICE)
    store.requeue(job.id, 1, Requeue(Reason.RETRY, "", True))
    second = store.start_attempt(job.id, DEVICE)
    assert first.started_at is not None and second.started_at == first.started_at
    assert second.current is not None and second.current.started_at > first.started_at


def test_what_a_job_reserves_after_it_has_outgrown_a_share(store: Store) -> None:
    """So many bytes, or a whole device; and a whole one stays so whatever sends it back to the queue."""
    (job,) = store.submit(A, "k", [having(new_job(), gpu_memory=100)])
    more = store.set_reservation(job.id, 300)
    assert (more.demand.gpu_memory, more.demand.exclusive) == (300, False)
    whole = store.set_reservation(job.id, None)
    assert (whole.demand.gpu_memory, whole.demand.exclusive) == (300, True)
    store.start_attempt(job.id, DEVICE)
    again = store.requeue(job.id, 1, Requeue(Reason.RETRY, "", False))
    assert again.demand.exclusive
    said = [event.message for event in store.events(job.id) if event.kind == "reservation"]
    assert said == ["it gets 300 bytes next time", "it gets a whole device next time"]


def test_after_running_out_of_memory_beside_others_each_next_attempt_gets_a_whole_device(
    store: Store,
) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    store.start_attempt(job.id, DEVICE, 10)
    assert store.requeue(job.id, 1, Requeue(Reason.RETRY, "", True, exclusive=True)).demand.exclusive
    store.start_attempt(job.id, DEVICE)
    assert store.requeue(job.id, 2, Requeue(Reason.RETRY, "", True)).demand.exclusive


def test_progress_is_that_of_the_last_attempt_that_had_any(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    record = {"state": "FAILED", "exit": {"code": 1, "signal": None}}
    for number, progress in ((1, {"epoch": 3}), (2, None)):
        store.start_attempt(job.id, DEVICE)
        ended = store.mark_completing(job.id, number, {**record, "progress": progress})
        store.requeue(job.id, number, Requeue(Reason.RETRY, "", True))
    assert ended.progress == {"epoch": 3}


def test_a_held_job_says_that_it_is_held_and_a_released_one_does_not(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    assert store.set_held(job.id, True, "a").reason is Reason.HELD
    assert store.set_held(job.id, False, "a").reason is Reason.NONE


def test_each_attempt_has_a_random_id_that_it_keeps(store: Store) -> None:
    one, two = store.submit(A, "k", [new_job("1"), new_job("2")])
    first = store.start_attempt(one.id, DEVICE).current
    other = store.start_attempt(two.id, DEVICE).current
    store.requeue(one.id, 1, Requeue(Reason.RETRY, "", False))
    second = store.start_attempt(one.id, DEVICE).current
    assert first and second and other
    assert len({len(attempt.nonce) for attempt in (first, second, other)} - {32}) == 0
    assert len({first.nonce, second.nonce, other.nonce}) == 3
    assert [attempt.nonce for attempt in store.attempts(one.id)] == [first.nonce, second.nonce]


def test_an_illegal_step_says_what_has_happened_to_the_job(store: Store) -> None:
    (job,) = store.submit(A, "k", [new_job()])
    complete(store, job.id)
    with pytest.raises(IllegalTransitionError) as refused:
        store.requeue(job.id, 1, Requeue(Reason.RETRY, "", True))
    assert str(refused.value) == (
        "job 1: COMPLETED -> PENDING is not a legal step. It has been through: submitted PENDING, state STARTING, "
        "state RUNNING, state COMPLETING, state COMPLETED"
    )
