"""Two things that happen to a job at the same moment: what was read before one of them is not acted upon after it. The
daemon's parts are real; Ray is not started."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from gpujobs import failpoints
from gpujobs.daemon.build import Parts
from gpujobs.daemon.handlers import hold, limit, prioritize, release, results
from gpujobs.daemon.handlers.changing import Action, Outcome
from gpujobs.daemon.handlers.log import Log
from gpujobs.daemon.jobs import partial_results
from gpujobs.daemon.jobs.requeues import requeue
from gpujobs.daemon.jobs.service import JobService, cancelled_by
from gpujobs.errors import MachineError, UsageError
from gpujobs.lifecycle import Finish, Requeue
from gpujobs.model import Device, DeviceKind, Job, Reason, State, StopReason
from gpujobs.protocol.instructions import Adjust, Start, Stop
from gpujobs.protocol.launcher import Forked
from gpujobs.protocol.records import Wishes
from gpujobs.protocol.telling import Instruction
from tests.integration.events import FAILED, run
from tests.integration.node import begin, settled, until
from tests.specs import event_of as event
from tests.unit.store.jobs import A, new_job

MANY = 250
"""More than one batch."""

COULD_NOT_START = Requeue(Reason.RETRY, "it could not be started: x", False)


def end(daemon: Parts, job: Job, state: State = State.FAILED, results: str | None = None) -> None:
    daemon.cache.put(daemon.store.mark_completing(job.id, job.attempt, FAILED))
    daemon.cache.put(daemon.store.finish(job.id, Finish(state, Reason.NONE, ""), results))


# Cancelling, queueing again, pruning


def test_what_is_cancelled_while_its_failed_start_cannot_be_recorded_is_not_started_again(
    daemon: Parts,
) -> None:
    job = begin(daemon, State.STARTING)

    async def work() -> Job:
        failpoints.arm("attempts.requeue.commit=full*1")
        daemon.attempts._endings.send_back(job, COULD_NOT_START)
        await daemon.jobs.cancel_one(job, "a")
        return await settled(daemon, job.id, State.CANCELLED, State.PENDING)

    found = run(daemon, work)
    assert (found.state, found.message) == (State.CANCELLED, "cancelled by a")


def test_what_fails_by_itself_before_it_hears_that_it_is_queued_again_is_queued_again(daemon: Parts) -> None:
    job = begin(daemon)
    daemon.cache.put(daemon.store.note_requeue(job.id, "a"))

    async def work() -> Job:
        daemon.attempts.on_event(event(job, "exited", exit=FAILED))
        return await settled(daemon, job.id, State.FAILED, State.PENDING)

    found = run(daemon, work)
    assert (found.state, found.message) == (State.PENDING, "attempt 1 ended: x; requeued by a")
    assert found.retries_used == 0


def test_what_fails_while_it_is_looked_who_queues_it_again_gets_a_copy(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups of a user are asked for beside the event loop."""
    job = begin(daemon)

    async def groups_of(*_: object) -> Sequence[str]:
        end(daemon, job)
        return ()

    monkeypatch.setattr(JobService, "groups_of", groups_of)
    monkeypatch.setattr(daemon.uploads, "is_here", lambda *_: True)
    (copy,) = run(daemon, lambda: requeue(daemon.jobs, A, [job])).jobs
    assert (copy.state, copy.continues) == (State.PENDING, job.id)


def test_what_has_ended_and_was_pruned_is_not_followed_up_for_ever(daemon: Parts) -> None:
    """Its end could not be recorded, and was when somebody asked for it, before the next try."""
    job = begin(daemon)

    async def work() -> None:
        failpoints.arm("attempts.finish.commit=full*1")
        daemon.attempts.on_event(event(job, "exited", exit=FAILED))
        await until(lambda: "its end cannot be recorded yet" in daemon.cache.troubles.get(job.id, ""))
        daemon.attempts.complete_now(job.id)
        await settled(daemon, job.id, State.FAILED)
        daemon.writer.do(lambda store: store.pruning.delete([job.id]))
        await daemon.attempts._endings._complete(job.id)  # as the timer of the next try does
        assert daemon.attempts._endings._between == {}

    run(daemon, work)


def test_cancelling_many_goes_on_where_one_of_them_was_pruned(daemon: Parts) -> None:
    first, second = daemon.writer.jobs(lambda store: store.submit(A, "k", [new_job()] * 2))
    ended = daemon.writer.job(lambda store: store.cancel_pending(first.id, "a", cancelled_by("a")))
    daemon.writer.do(lambda store: store.pruning.delete([first.id]))
    cancelled = run(daemon, lambda: daemon.jobs.cancel([ended, second], "a"))
    assert [(job.id, job.state) for job in cancelled] == [
        (first.id, State.CANCELLED),
        (second.id, State.CANCELLED),
    ]


# Many are changed, and one of them is not what it was


def changed(daemon: Parts, action: Action, jobs: Sequence[Job], **asked: Any) -> Outcome:
    async def work() -> Outcome:
        return await action.change(daemon.jobs, A, jobs, action.body(ids=[1], **asked))

    found: Outcome = run(daemon, work)
    return found


@pytest.mark.parametrize("action", [hold.ACTION, release.ACTION])
def test_a_job_that_begins_meanwhile_keeps_none_of_the_others_from_being_held(
    daemon: Parts, action: Action
) -> None:
    jobs = daemon.writer.jobs(lambda store: store.submit(A, "k", [new_job()] * MANY))
    late = jobs[MANY - 10]
    device = Device(daemon.node_name, DeviceKind.CPU, 0, "CPU-n-0", "cpu")
    daemon.writer.job(lambda store: store.start_attempt(late.id, device))
    outcome = changed(daemon, action, jobs)
    assert [job.id for job in outcome.jobs] == [job.id for job in jobs]
    is_held = action is hold.ACTION
    held = {job.id for job in jobs if daemon.store.job(job.id).held}
    assert held == ({job.id for job in jobs} - {late.id} if is_held else set())
    if is_held:
        assert outcome.notes == {late.id: "it was too late to hold it"}


@pytest.mark.parametrize(
    ("action", "asked"), [(prioritize.ACTION, {"priority": -1}), (limit.ACTION, {"limit_seconds": 60.0})]
)
def test_of_a_job_that_ends_meanwhile_it_is_said_and_the_others_are_changed(
    daemon: Parts, action: Action, asked: dict[str, float]
) -> None:
    jobs = daemon.writer.jobs(lambda store: store.submit(A, "k", [new_job()] * MANY))
    late = jobs[MANY - 10]
    daemon.writer.job(lambda store: store.cancel_pending(late.id, "a", cancelled_by("a")))
    outcome = changed(daemon, action, jobs, **asked)
    assert outcome.notes[late.id] == "had already ended: CANCELLED"
    assert {note for job, note in outcome.notes.items() if job != late.id} == {
        "priority -1" if "priority" in asked else "time limit 1 min"
    }
    kinds = {job.id: daemon.store.events(job.id)[-1].kind for job in jobs}
    assert {job for job, kind in kinds.items() if kind == "state"} == {late.id}


# What a supervisor is told


Answer = Callable[[Instruction[Any]], Awaitable[Any]]


def answering(daemon: Parts, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    async def call(_node: str, asked: Instruction[Any]) -> Any:
        return await answer(asked)

    monkeypatch.setattr(daemon.link, "call", call)


def test_a_supervisor_is_told_the_latest_limit_whoever_comes_to_it_last(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`limit 1-500 1h` comes to a job after `limit 300 2h` has: both are committed in that order."""
    seen = begin(daemon)
    earlier = daemon.writer.job(lambda store: store.set_time_limit(seen.id, 3600.0, "a"))
    daemon.writer.job(lambda store: store.set_time_limit(seen.id, 7200.0, "a"))
    told: list[Wishes] = []

    async def answer(asked: Instruction[Any]) -> None:
        assert isinstance(asked, Adjust)
        told.append(asked.wishes)

    answering(daemon, monkeypatch, answer)
    run(daemon, lambda: daemon.attempts.adjust(earlier))
    assert told == [Wishes(False, 7200.0)]


def test_what_is_asked_of_a_job_while_it_is_launched_is_told_when_it_is(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its spec was made before, and there was no supervisor to be told yet."""
    job = begin(daemon, State.STARTING)
    told: list[Wishes] = []

    async def answer(asked: Instruction[Any]) -> Any:
        if isinstance(asked, Start):
            daemon.writer.job(lambda store: store.set_time_limit(job.id, 7200.0, "a"))
            return Forked(1)
        assert isinstance(asked, Adjust)
        told.append(asked.wishes)

    async def work() -> None:
        daemon.attempts.launch(job)
        await until(lambda: told, seconds=10)

    answering(daemon, monkeypatch, answer)
    monkeypatch.setattr(daemon.link, "launcher_seconds", lambda *_: 1.0)
    run(daemon, work)
    assert told == [Wishes(False, 7200.0)]


def test_a_stop_that_fails_says_nothing_of_the_attempt_that_has_begun_since(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begin(daemon)

    async def answer(asked: Instruction[Any]) -> Any:
        assert isinstance(asked, Stop)
        daemon.cache.put(daemon.store.mark_completing(job.id, 1, FAILED))
        daemon.cache.put(daemon.store.requeue(job.id, 1, COULD_NOT_START))
        device = Device(daemon.node_name, DeviceKind.CPU, 0, "CPU-n-0", "cpu")
        daemon.cache.put(daemon.store.start_attempt(job.id, device))
        raise MachineError("the cluster ended before it answered")

    answering(daemon, monkeypatch, answer)
    run(daemon, lambda: daemon.attempts.stop(job, StopReason.REQUEUE, "requeued by a"))
    assert daemon.cache.troubles == {} and daemon.cache.stopping == set()


def test_a_stop_that_comes_after_the_end_is_not_counted_on(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the policy would wait for the device of the job's next attempt."""
    job = begin(daemon)
    end(daemon, job)

    async def answer(_: Instruction[Any]) -> Any:
        raise AssertionError("nobody is to be asked")

    answering(daemon, monkeypatch, answer)
    run(daemon, lambda: daemon.attempts.stop(job, StopReason.PREEMPT, "it made room"))
    assert daemon.cache.stopping == set()


# What is read of a job that ends


@pytest.fixture
def ends_when_asked(daemon: Parts, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job as it was read when it ran: it completes, and nothing is left of it on its node, when that is asked."""
    job = begin(daemon)
    directory = daemon.paths.result(job.id)
    directory.mkdir(parents=True)
    for name, content in (("log.txt", "Epoch 1/9\n"), ("history.csv", "epoch\n1\n"), ("metrics.json", "{}")):
        (directory / name).write_text(content)
    real = daemon.link.call

    async def call(node: str, asked: Instruction[Any]) -> Any:
        if not daemon.store.job(job.id).state.is_final:
            end(daemon, job, State.COMPLETED, str(directory))
            shutil.rmtree(daemon.paths.job(job.id).root)
        return await real(node, asked)

    monkeypatch.setattr(daemon.link, "call", call)
    return job


def test_a_log_is_read_to_its_end_where_the_job_completes_meanwhile(
    daemon: Parts, ends_when_asked: Job
) -> None:
    log = Log.of(daemon.queries, ends_when_asked, None)
    assert run(daemon, lambda: log.read(6)) == (b"1/9\n", 10)


@pytest.mark.parametrize(("name", "content"), [("history.csv", b"epoch\n1\n"), ("log.txt", b"Epoch 1/9\n")])
def test_what_a_job_has_written_so_far_is_read_where_it_completes_meanwhile(
    daemon: Parts, ends_when_asked: Job, name: str, content: bytes
) -> None:
    async def work() -> bytes:
        size = await partial_results.size_of(daemon.queries, ends_when_asked, name)
        pieces = partial_results.content(daemon.queries, ends_when_asked, name, size)
        return b"".join([piece async for piece in pieces])

    assert run(daemon, work) == content
    with pytest.raises(UsageError):
        run(daemon, lambda: partial_results.size_of(daemon.queries, ends_when_asked, "absent.csv"))


def test_what_there_is_to_fetch_is_listed_where_the_job_completes_meanwhile(
    daemon: Parts, ends_when_asked: Job
) -> None:
    entry = run(daemon, lambda: results._partial_entry(daemon.queries, ends_when_asked))
    assert (entry["state"], entry["directory"]) == (
        State.COMPLETED,
        str(daemon.paths.result(ends_when_asked.id)),
    )
    assert sorted(file["name"] for file in entry["files"]) == ["history.csv", "log.txt", "metrics.json"]
