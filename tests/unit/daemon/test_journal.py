"""The daemon's log tells who did what, from the events that were committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs.daemon.journal import Journal, job_lines, ranges
from gpujobs.demand import Demand
from gpujobs.errors import StoreError
from gpujobs.lifecycle import Finish, Requeue
from gpujobs.model import Caller, Device, DeviceKind, Reason, State, utc_now
from gpujobs.store.records import NewJob
from gpujobs.store.store import Store

ALICE = Caller(uid=1000, gid=1000, pid=1, user="alice")
DEVICE = Device("n", DeviceKind.GPU, 2, "GPU-2", "card")
FAILED = Finish(State.FAILED, Reason.NAN_LOSS, "epoch 3: the loss is NaN")
LOST = Finish(State.FAILED, Reason.SUPERVISOR_LOST, "it was gone")


def new_job(name: str, held: bool = False) -> NewJob:
    return NewJob(
        name=name, path="j.yaml", source="", resolved={}, demand=Demand(), held=held, retries=1, group=None,
        data=(),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.db")
    yield opened
    opened.close()


def end(store: Store, job: int, step: Finish) -> None:
    attempt = store.start_attempt(job, DEVICE).attempt
    store.mark_running(job, attempt, 99, utc_now())
    store.mark_completing(job, attempt, {"state": step.state, "exit": {"code": 1, "signal": None}})
    store.finish(job, step, None)


def lines(journal: Journal, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "gpujobs.daemon.journal"):
        journal.write()
    return [record.getMessage() for record in caplog.records]


def test_each_act_is_a_line_with_job_user_and_device(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(store.history, lambda uuid: f"gpu 2 ({uuid})")
    (job,) = store.submit(ALICE, "k", [new_job("a\nname")])
    end(store, job.id, FAILED)
    (other,) = store.submit(ALICE, "l", [new_job("b", held=True)])
    store.set_held(other.id, False, "bob")
    store.cancel_pending(other.id, "root", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, "wrong data"))
    store.devices.drain("GPU-2", "its fan", "bob")
    assert lines(journal, caplog) == [
        'job 1 of alice: submitted by alice "a name"',
        'job 1 of alice: starts "a name", attempt 1: on n, gpu 2 (GPU-2)',
        'job 1 of alice: FAILED "a name" on gpu 2: NaNLoss: epoch 3: the loss is NaN',
        'job 2 of alice: submitted by alice, held "b"',
        'job 2 of alice: released by bob "b"',
        'job 2 of alice: CANCELLED by root "b": CancelledByUser: wrong data',
        "device gpu 2 (GPU-2): drained by bob: its fan",
    ]
    assert lines(journal, caplog) == []


def test_what_the_machine_is_to_blame_for_is_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(store.history)
    (job,) = store.submit(ALICE, "k", [new_job("a")])
    end(store, job.id, LOST)
    lines(journal, caplog)
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]


def test_a_job_that_is_back_in_the_queue_is_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(store.history)
    (job,) = store.submit(ALICE, "k", [new_job("a")])
    attempt = store.start_attempt(job.id, DEVICE).attempt
    store.requeue(job.id, attempt, Requeue(Reason.RETRY, "the start was interrupted", False))
    assert (
        lines(journal, caplog)[-1]
        == 'job 1 of alice: back in the queue "a": Retry: the start was interrupted'
    )


def test_a_sweep_is_one_line(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(store.history)
    store.submit(ALICE, "k", [new_job(f"s-{n}") for n in range(50)])
    assert lines(journal, caplog) == ["50 jobs (1-50) of alice: submitted by alice"]


def test_what_was_rolled_back_is_not_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(store.history)
    with pytest.raises(StoreError), store.together():
        store.submit(ALICE, "k", [new_job("a")])
        raise StoreError("the disk is full")
    assert lines(journal, caplog) == []


def test_what_was_there_before_is_not_told_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.submit(ALICE, "k", [new_job("a")])
    assert lines(Journal(store.history), caplog) == []


def test_ranges() -> None:
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"


def test_two_acts_on_one_job_are_two_lines_and_no_two_jobs(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(store.history, str)
    (job,) = store.submit(ALICE, "k", [new_job("a", held=True)])
    lines(journal, caplog)
    for held in (False, True, False):
        store.set_held(job.id, held, "bob")
    told = lines(journal, caplog)
    assert len(told) == 3 and all(line.startswith(f"job {job.id} of alice: ") for line in told)
    (event,) = store.history.jobs_after(0)[:1]
    twice = [text for _, text in job_lines([event, event])]
    assert twice == [f'job {job.id} of alice: submitted by alice, held "a"'] * 2


@pytest.mark.parametrize("committed", ["before", "after"])
def test_a_journal_that_was_woken_before_its_end_does_not_ask_a_closed_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, committed: str
) -> None:
    async def end() -> None:
        store = Store(tmp_path / "closing.db")
        journal = Journal(store.history)
        store.submit(ALICE, "k", [new_job("last")])
        journal.wake()
        journal.close()
        store.close()
        if committed == "after":
            journal.wake()
        await asyncio.sleep(0)

    caplog.set_level(logging.INFO)
    asyncio.run(end())
    assert [record.getMessage() for record in caplog.records] == ['job 1 of alice: submitted by alice "last"']
