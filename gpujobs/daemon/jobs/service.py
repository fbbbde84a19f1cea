"""Changing jobs that exist: what each verb of `gpujobs cancel`, `hold`, `release` ... does, for handlers and for the
daemon itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.dispatch import Dispatcher
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.jobs.attempts import Attempts
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.latest import latest_of
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.pauses import Pauses
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Job, Reason, State
from gpujobs.policy import Rules
from gpujobs.policy.users.limits import check_priority
from gpujobs.store.reader import Reader
from gpujobs.store.store import Store

BATCH = 200
"""Jobs that are changed in one transaction."""


@dataclass(frozen=True, slots=True)
class JobService:
    """Who may do it was asked before. Raises UsageError where a job cannot be changed so."""

    store: Reader
    writer: StoreWriter
    cache: JobCache
    attempts: Attempts
    uploads: Uploads
    membership: Membership
    in_force: InForce
    dispatcher: Dispatcher
    changed: Observers[[]]
    """Told of whatever may let a job start, or the daemon end."""
    nodes: Nodes

    @property
    def rules(self) -> Rules:
        return self.in_force.rules

    def latest(self, number: int) -> Job:
        """It may have started, or ended, since somebody has read it."""
        return self.cache.jobs.get(number) or self.store.job(number)

    async def groups_of(self, user: str) -> Sequence[str]:
        await self.membership.learn([user])
        return self.membership.groups.get(user, ())

    async def cancel(self, jobs: Sequence[Job], actor: str, why: str = "") -> list[Job]:
        """Cancelling what has ended changes nothing."""
        cancelled: list[Job] = []
        for start in range(0, len(jobs), BATCH):
            batch = jobs[start : start + BATCH]
            done = await self.writer.patient(partial(self._cancel_those_that_wait, batch, actor, why))
            for job in batch:
                has_ended = job.state.is_final  # and may be pruned since
                now = done.get(job.id) or (job if has_ended else await self.cancel_one(job, actor, why))
                cancelled.append(now)
            await asyncio.sleep(0)
        return cancelled

    async def cancel_one(self, job: Job, actor: str, why: str = "") -> Job:
        job = await self.writer.patient(lambda: self._record_cancel(job.id, actor, why))
        if job.state.holds_device:
            await self.attempts.stop(job)
        elif not job.state.is_final:
            self.attempts.complete_now(job.id)
        self.changed.tell()
        return job

    def _record_cancel(self, number: int, actor: str, why: str) -> Job:
        job = self.latest(number)
        if job.state is State.PENDING:
            (job,) = self._cancel_waiting([job], actor, why)
        elif not job.state.is_final and not job.cancel_requested:
            said = cancelled_by(actor, why).message
            job = self.writer.job(lambda store: store.request_cancel(number, actor, said))
        return job

    def _cancel_those_that_wait(self, jobs: Sequence[Job], actor: str, why: str) -> dict[int, Job]:
        """Of these, those that wait at this moment."""
        waiting = [job for job in self.as_they_are(jobs) if job.state is State.PENDING]
        return {job.id: job for job in self._cancel_waiting(waiting, actor, why)}

    def _cancel_waiting(self, jobs: Sequence[Job], actor: str, why: str) -> list[Job]:
        """These PENDING jobs, all at once."""
        step = cancelled_by(actor, why)
        cancelled = self.writer.jobs(
            lambda store: [store.cancel_pending(job.id, actor, step) for job in jobs]
        )
        self.attempts.cancel_blocked()
        self.changed.tell()
        return cancelled

    async def set_held(self, jobs: Sequence[Job], held: bool, actor: str) -> list[Job]:
        changed = await self.in_batches(
            jobs, lambda store, job: store.set_held(job, held, actor), lambda job: job.state is State.PENDING
        )
        await self.dispatcher.decision()  # so that the answer says what has come of it
        return [self.cache.jobs.get(job.id, job) for job in changed]

    async def prioritize(self, jobs: Sequence[Job], priority: int, caller: Caller) -> list[Job]:
        """Within what the site allows."""
        check_priority(priority, self.rules.priority, is_admin=caller.is_admin)
        changed = await self.in_batches(
            jobs,
            lambda store, job: store.set_priority(job, priority, caller.user),
            lambda job: not job.state.is_final,
        )
        self.changed.tell()
        return changed

    async def finish(self, jobs: Sequence[Job], actor: str) -> list[Job]:
        """Trainings end after their epochs, as if these had been the last."""
        pauses = Pauses()
        for job in jobs:
            await pauses.due()
            if "training" not in self.store.spec(job.id).resolved:
                raise UsageError(f"job {job.id} applies a model that is trained; there is nothing to finish")
        changed = await self.in_batches(
            jobs,
            lambda store, job: store.request_finish(job, actor),
            lambda job: job.state is State.PENDING or job.state.holds_device,
        )
        for job in changed:
            await self.attempts.adjust(job)
        return changed

    async def in_batches(
        self, jobs: Sequence[Job], change: Callable[[Store, int], Job], may: Callable[[Job], bool]
    ) -> list[Job]:
        """Each batch is one transaction, since a disk takes one where it takes a hundred; between them others get
        their turn. A job that `may` not be changed any more when its turn comes, as it has begun or ended, stays as it
        is and keeps none of the others from their change. Returns all as they are then, but for what was pruned."""
        changed: list[Job] = []
        for start in range(0, len(jobs), BATCH):
            batch = jobs[start : start + BATCH]
            changed += await self.writer.patient(partial(self._together, batch, change, may))
            await asyncio.sleep(0)
        return changed

    def _together(
        self, jobs: Sequence[Job], change: Callable[[Store, int], Job], may: Callable[[Job], bool]
    ) -> list[Job]:
        now = self.as_they_are(jobs)
        able = [job.id for job in now if may(job)]
        done = {job.id: job for job in self.writer.jobs(lambda store: [change(store, job) for job in able])}
        return [done.get(job.id, job) for job in now]

    def as_they_are(self, jobs: Sequence[Job]) -> list[Job]:
        """In the same order, without those that were pruned."""
        known = latest_of(self.cache, self.store, [job.id for job in jobs])
        return [known[job.id] for job in jobs if job.id in known]


def cancelled_by(actor: str, why: str = "") -> Finish:
    said = f"cancelled by {actor}{f': {why}' if why else ''}"
    return Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, said)
