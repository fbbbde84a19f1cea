"""The queue against a plain list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpujobs.policy import PendingJob, Queue, Snapshot, decide
from gpujobs.policy.inputs.queue import signature

from .box import NOW, gpu, later, node, pending


def test_a_job_is_in_the_queue_once() -> None:
    queue = Queue([pending(1, 0)])
    with pytest.raises(ValueError, match="job 1 is in the queue already"):
        queue.add(pending(1, 5))
    with pytest.raises(KeyError):
        queue.remove(2)


def test_a_copy_is_independent() -> None:
    queue = Queue([pending(1, 0), pending(2, 0, held=True), pending(3, 0, begin_at=later(60))])
    copy = queue.copy()
    copy.remove(1)
    copy.advance(later(60))
    assert [job.id for job in queue] == [1, 2, 3] and [job.id for job in queue.ready()] == [1]
    assert [job.id for job in copy.ready()] == [3]


def test_equal_demands_are_one_object_as_long_as_somebody_has_them() -> None:
    queue = Queue([pending(id, 0, requested_gpu=id % 2, time_limit_seconds=60.0) for id in (1, 2, 3, 4)])
    kinds = [queue.signature_of(queue[id]) for id in (1, 2, 3, 4)]
    assert kinds[0] is kinds[2] and kinds[1] is kinds[3] and kinds[0] != kinds[1]
    copy = queue.copy()
    copy.add(pending(5, 0, requested_gpu=1, time_limit_seconds=60.0))
    assert copy.signature_of(copy[5]) is kinds[0]
    for id in (1, 3):
        queue.remove(id)
    queue.add(pending(6, 0, requested_gpu=1, time_limit_seconds=60.0))
    assert queue.signature_of(queue[6]) is not kinds[0] and queue.signature_of(queue[6]) == kinds[0]
    assert copy.signature_of(copy[1]) is kinds[0]


def test_a_decision_leaves_the_queue_of_its_caller_as_it_was() -> None:
    queue = Queue([pending(1, 0, begin_at=later(60))])
    box = [node(gpu(0))]
    assert [start.job for start in decide(Snapshot(later(60), queue, box, ())).starts] == [1]
    assert list(queue.ready()) == []
    assert decide(Snapshot(NOW, queue, box, ())).starts == decide(Snapshot(NOW, queue.copy(), box, ())).starts
    assert not decide(Snapshot(NOW, queue, box, ())).starts


def test_the_next_time_to_begin_skips_those_that_left() -> None:
    queue = Queue([pending(id, 0, begin_at=later(id)) for id in (1, 2, 3)])
    queue.remove(1)
    queue.replace(pending(2, 0, begin_at=later(9)))
    for now, expected in ((0, later(3)), (3, later(9)), (9, None)):
        queue.advance(later(now))
        assert queue.next_begin == expected


def test_a_held_job_whose_time_has_come_starts_when_it_is_released() -> None:
    queue = Queue([pending(1, 0, held=True, begin_at=later(5))])
    queue.advance(later(10))
    assert not queue.has_ready
    queue.replace(pending(1, 0, begin_at=later(5)))
    queue.advance(later(10))
    assert [job.id for job in queue.ready()] == [1]


jobs = st.builds(
    pending,
    st.integers(1, 12),
    st.integers(-2, 2),
    requested_gpu=st.sampled_from([None, None, 3]),
    held=st.sampled_from([False, False, True]),
    waits_for=st.sampled_from([(), (), (99,)]),
    user=st.sampled_from("abc"),
    gpu_memory=st.sampled_from([None, 5]),
    begin_at=st.sampled_from([None, None, later(5), later(50)]),
)


class Queues(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.model: dict[int, PendingJob] = {}
        self.now = NOW

    @rule(job=jobs)
    def put(self, job: PendingJob) -> None:
        if job.id in self.model:
            self.queue.replace(job)
        else:
            self.queue.add(job)
        self.model[job.id] = job

    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        if self.model:
            id = data.draw(st.sampled_from(sorted(self.model)))
            assert self.queue.remove(id) == self.model.pop(id)

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        self.now = max(self.now, later(seconds))

    @invariant()
    def holds_the_same(self) -> None:
        self.queue.advance(self.now)
        assert {job.id: job for job in self.queue} == self.model
        ready = {
            id
            for id, job in self.model.items()
            if not job.held
            and not job.waits_for
            and (job.demand.begin_at is None or job.demand.begin_at <= self.now)
        }
        assert {job.id for job in self.queue.ready()} == ready
        assert self.queue.has_ready == bool(ready)
        expected: dict[str, dict[Any, list[tuple[int, int]]]] = {}
        for id in ready:
            job = self.model[id]
            lines = expected.setdefault(job.user, {})
            lines.setdefault(signature(job), []).append((-job.demand.priority, id))
        assert {user: mine.lines for user, mine in self.queue.users.items()} == {
            user: {kind: sorted(line) for kind, line in lines.items()} for user, lines in expected.items()
        }
        for user, mine in self.queue.users.items():
            assert mine.order == sorted(entry for line in expected[user].values() for entry in line)
        assert sum(self.queue.kinds.values()) == len(ready)
        assert all(count > 0 for count in self.queue.kinds.values())


TestQueues = Queues.TestCase
TestQueues.settings = settings(max_examples=100, stateful_step_count=30)
