"""The waiting jobs as the policy wants them, kept up to date job by job: a decision sorts nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from gpujobs.demand import Demand
from gpujobs.model import Job, State
from gpujobs.policy import PendingJob, Queue


class PendingIndex:
    """`queue` holds the PENDING jobs. `unfinished` tells which dependencies have not ended, `unfit` where jobs of a
    user, or one by its number, cannot run, and why."""

    def __init__(self, unfinished: Container[int], unfit: Mapping[str | int, Mapping[str, str]]) -> None:
        self.queue = Queue()
        self._unfit = unfit
        self._unfinished = unfinished
        self._dependents: dict[int, set[int]] = {}

    def put(self, job: Job) -> None:
        """Takes over a job as it is now; one that does not wait is taken out."""
        if job.id in self.queue:
            self.queue.remove(job.id)
        if job.state is State.PENDING:
            self.queue.add(self._waiting(job))

    def ended(self, job: int, dependents: Iterable[Job]) -> None:
        """`dependents` wait for one thing less."""
        self._dependents.pop(job, None)
        for dependent in dependents:
            self.put(dependent)

    def dependents_of(self, job: int) -> set[int]:
        return self._dependents.get(job, set())

    def _demand(self, job: Job) -> Demand:
        unfit = {**self._unfit.get(job.user, {}), **self._unfit.get(job.id, {})}
        return job.demand if not unfit else replace(job.demand, without=tuple(sorted(unfit.items())))

    def _waiting(self, job: Job) -> PendingJob:
        awaits = job.demand.awaits
        waits_for = tuple(one for one in awaits if one in self._unfinished)
        for one in waits_for:
            self._dependents.setdefault(one, set()).add(job.id)
        return PendingJob(
            id=job.id,
            demand=self._demand(job),
            user=job.user,
            submitted_at=job.submitted_at,
            held=job.held,
            waits_for=waits_for,
            waits_for_failure=tuple(one for one in awaits.after_failed if one in self._unfinished),
            group=job.limited_group,
        )
