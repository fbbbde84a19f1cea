"""The policy in virtual time: it decides whenever something changes, and its decisions come true at once.

What drives `forward` and the simulation. Pure like the rest: time is what the events say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush

from gpujobs.model import Node, NodeStatus
from gpujobs.policy.decide import decide
from gpujobs.policy.inputs.decision import Decision, Start
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.snapshot import Allocation, Snapshot
from gpujobs.policy.users.fairshare import device_share, with_attempt

Arrival = tuple[datetime, PendingJob]
Change = tuple[datetime, Sequence[Node]]

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """What happened at one instant. `ended` holds jobs that are done, `stopped` those that were preempted."""

    at: datetime
    submitted: tuple[PendingJob, ...]
    ended: tuple[int, ...]
    stopped: tuple[int, ...]
    started: tuple[Start, ...]


class Engine:
    """`seconds_left(job)` says how long a waiting job will run, None where nobody knows: then it never ends.

    `arrivals` are in order of time. A preempted job takes `STOP_SECONDS` to stop, and goes on later from there.
    `changes`: what nodes there are from an instant on, in order of time; what was started on one that cannot be used
    any more goes back to the queue at once, and goes on later from there.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        seconds_left: Callable[[PendingJob], float | None],
        arrivals: Iterable[Arrival] = (),
        changes: Iterable[Change] = (),
    ) -> None:
        self.queue = snapshot.queue().copy()
        self.running: dict[int, Allocation] = {}
        self._base = snapshot
        self._seconds_left = seconds_left
        self._arrivals = iter(arrivals)
        self._next_arrival = next(self._arrivals, None)
        self._changes = iter(changes)
        self._next_change = next(self._changes, None)
        self._stop = timedelta(seconds=STOP_SECONDS)
        self._usage = dict(snapshot.usage)
        self._memory = {
            device.uuid: device.memory_total_bytes for node in snapshot.nodes for device in node.devices
        }
        self._jobs: dict[int, PendingJob] = {}
        """Of the running jobs that were started here, as they were in the queue."""
        self._left: dict[int, float | None] = {}
        """Seconds that a preempted job has still to run, where they are known."""
        self._dependents: dict[int, list[int]] = {}
        """Jobs in the queue that wait for the end of one, by that one."""
        for job in self.queue:
            for other in job.waits_for:
                self._dependents.setdefault(other, []).append(job.id)
        self._ends: list[tuple[datetime, int]] = []
        """A heap of (end, job); what no longer holds is dropped when it comes to the top."""
        for one in snapshot.allocations:
            self._run(one if not one.stopping else replace(one, expected_end=snapshot.now + self._stop))
        self._timer: datetime | None = snapshot.now

    def steps(self) -> Iterator[Step]:
        """One for each instant at which something happens, until nothing more can."""
        while (at := self._next_instant()) is not None:
            yield self._step(at)

    def _next_instant(self) -> datetime | None:
        while self._ends and not self._is_current(*self._ends[0]):
            heappop(self._ends)
        instants = [
            self._timer,
            self._ends[0][0] if self._ends else None,
            self._next_arrival[0] if self._next_arrival else None,
            # Where nobody is left for whom it could matter, nodes come and go unseen.
            self._next_change[0] if self._next_change and (self.running or self.queue.has_ready) else None,
        ]
        return min((at for at in instants if at is not None), default=None)

    def _is_current(self, at: datetime, job: int) -> bool:
        allocation = self.running.get(job)
        if allocation is None or allocation.expected_end is None:
            return False
        return allocation.expected_end <= at

    def _step(self, at: datetime) -> Step:
        ended, stopped = self._end_jobs(at)
        stopped += self._change_nodes(at)
        submitted = self._submit(at)
        self.queue.advance(at)
        decision = decide(
            replace(
                self._base,
                now=at,
                waiting=self.queue,
                allocations=tuple(self.running.values()),
                usage=self._usage,
            )
        )
        self._apply(decision, at)
        self._timer = decision.next_change_at
        return Step(at, submitted, ended, stopped, decision.starts)

    def _change_nodes(self, at: datetime) -> tuple[int, ...]:
        """The jobs that were on nodes which cannot be used any more."""
        gone = []
        while self._next_change is not None and self._next_change[0] <= at:
            self._base = replace(self._base, nodes=self._next_change[1])
            self._next_change = next(self._changes, None)
            usable = {node.name for node in self._base.nodes if node.status is NodeStatus.OK}
            gone += [one for one in self.running.values() if one.node not in usable]
            for one in gone:
                self._lose(one, at)
        return tuple(one.job for one in gone)

    def _lose(self, one: Allocation, at: datetime) -> None:
        if self.running.pop(one.job, None) is None:
            return
        self._charge(one, at)
        job = self._jobs.pop(one.job, None)
        if job is not None:
            end = one.expected_end
            self._left.setdefault(one.job, None if end is None else max(0.0, (end - at).total_seconds()))
            self.queue.add(job)

    def _submit(self, at: datetime) -> tuple[PendingJob, ...]:
        new = []
        while self._next_arrival is not None and self._next_arrival[0] <= at:
            new.append(self._next_arrival[1])
            self.queue.add(self._next_arrival[1])
            self._next_arrival = next(self._arrivals, None)
        return tuple(new)

    def _end_jobs(self, at: datetime) -> tuple[tuple[int, ...], tuple[int, ...]]:
        ended, stopped = [], []
        while self._ends and self._ends[0][0] <= at:
            end, id = heappop(self._ends)
            if not self._is_current(end, id):
                continue
            allocation = self.running.pop(id)
            self._charge(allocation, at)
            job = self._jobs.pop(id, None)
            if id in self._left and job is not None:
                self.queue.add(job)
                stopped.append(id)
            else:
                self._release_dependents(id)
                ended.append(id)
        return tuple(ended), tuple(stopped)

    def _release_dependents(self, id: int) -> None:
        for dependent in self._dependents.pop(id, ()):
            job = self.queue[dependent]
            left = tuple(one for one in job.waits_for if one != id)
            failure = tuple(one for one in job.waits_for_failure if one != id)
            self.queue.replace(replace(job, waits_for=left, waits_for_failure=failure))

    def _charge(self, allocation: Allocation, at: datetime) -> None:
        share = device_share(allocation.gpu_memory_bytes, self._memory.get(allocation.device_uuid))
        half_life = self._base.rules.priority.half_life_seconds
        self._usage[allocation.user] = with_attempt(
            self._usage.get(allocation.user), share, allocation.started_at or at, at, half_life
        )

    def _apply(self, decision: Decision, at: datetime) -> None:
        for start in decision.starts:
            self._start(start, at)
        for preemption in decision.preemptions:
            self._stop_job(preemption.job, at)

    def _start(self, start: Start, at: datetime) -> None:
        job = self._jobs[start.job] = self.queue.remove(start.job)
        seconds = self._left.pop(job.id) if job.id in self._left else self._seconds_left(job)
        self._run(
            Allocation(
                job=job.id,
                node=start.node,
                device_uuid=start.device_uuid,
                user=job.user,
                started_at=at,
                gpu_memory_bytes=start.gpu_memory_bytes,
                demand=job.demand,
                group=job.group,
                expected_end=None if seconds is None else at + timedelta(seconds=seconds),
            )
        )

    def _run(self, allocation: Allocation) -> None:
        """From now on, or from now on until another end than before."""
        self.running[allocation.job] = allocation
        if allocation.expected_end is not None:
            heappush(self._ends, (max(allocation.expected_end, self._base.now), allocation.job))

    def _stop_job(self, id: int, at: datetime) -> None:
        """It stops in a moment, unless it ends before that anyway."""
        allocation, stops_at = self.running[id], at + self._stop
        if allocation.expected_end is not None and allocation.expected_end <= stops_at:
            self.running[id] = replace(allocation, stopping=True)
            return
        ends_at = allocation.expected_end
        self._left[id] = None if ends_at is None else (ends_at - stops_at).total_seconds()
        self._run(replace(allocation, stopping=True, expected_end=stops_at))
