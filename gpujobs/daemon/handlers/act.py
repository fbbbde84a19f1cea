"""`POST /v1/jobs/cancel` and its like: changing jobs that exist."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.access.policy import may_change, require
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import ConditionsBody, body_of
from gpujobs.daemon.jobs.limits import change_limit
from gpujobs.daemon.jobs.references import Choice, Chosen, Reference, choose
from gpujobs.daemon.jobs.requeues import Changes, requeue
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.patience import committed
from gpujobs.errors import UsageError
from gpujobs.jobfile.schema import MAX_TIME_LIMIT_SECONDS
from gpujobs.model import MAX_PRIORITY, Caller, Job, State
from gpujobs.policy.inputs.text import duration
from gpujobs.policy.users.limits import check_priority

MAX_IDS = 100_000
BATCH = 200
MAX_WORDS = 1000
"""Characters of a reason."""


class IdsBody(BaseModel):
    """`choose` narrows `ids`, or chooses by itself. `dry_run` answers which jobs would be changed; `only` changes
    these of them, which somebody has seen."""

    model_config = ConfigDict(extra="forbid", strict=True)
    ids: list[Reference] = Field(default=[], max_length=MAX_IDS)
    choose: ConditionsBody = ConditionsBody()
    only: list[int] | None = Field(default=None, max_length=MAX_IDS)
    dry_run: bool = False
    reason: str = Field(default="", max_length=MAX_WORDS)

    @property
    def choice(self) -> Choice:
        return self.choose.choice(self.ids)


class RequeueBody(IdsBody):
    hold: bool = False
    finish: bool = False
    no_after: bool = False
    fresh: bool = False
    """To begin anew, without a checkpoint."""
    limit_seconds: float | None = Field(default=None, ge=1, le=MAX_TIME_LIMIT_SECONDS)


class PriorityBody(IdsBody):
    priority: int = Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)


class LimitBody(IdsBody):
    limit_seconds: float | None = Field(ge=1, le=MAX_TIME_LIMIT_SECONDS)
    """None: without a limit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`notes`: what else there is to say of a job, by its id."""

    jobs: Sequence[Job]
    notes: dict[int, str] = field(default_factory=dict)


Change = Callable[[Daemon, Caller, Sequence[Job], Any], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Action:
    """`refuses` says why a job that is named cannot be changed, and `passes_over` why one of many is not: None
    where it is."""

    body: type[IdsBody]
    change: Change
    refuses: Callable[[Job], str | None]
    passes_over: Callable[[Job], str | None]


async def handle(request: web.Request) -> web.Response:
    """All jobs are looked at before any is changed. Of those that no number names, those are changed that can be."""
    daemon, caller = daemon_of(request), caller_of(request)
    verb = request.match_info["action"]
    action = ACTIONS[verb]
    body = await body_of(request, action.body)
    chosen = _chosen(daemon, caller, body, verb)
    jobs, passed_over = _sorted_out(chosen, action)
    if not body.ids:  # who says "all that wait" has not asked about those that do not
        passed_over = []
    if body.dry_run:
        return _answer(daemon, caller, Outcome(jobs), passed_over)
    outcome = await action.change(daemon, caller, jobs, body)
    return _answer(daemon, caller, outcome, passed_over)


def _chosen(daemon: Daemon, caller: Caller, body: IdsBody, verb: str) -> Chosen:
    """Raises where one does not exist, or may not be changed by the caller."""
    if not body.choice:
        raise UsageError(f"expected the jobs to {verb}: numbers, ranges, groups or a condition")
    chosen = choose(daemon.store, caller, body.choice, own=True)
    if not chosen.jobs:
        raise UsageError(f"no job is as asked for; `gpujobs status --all` lists what there is to {verb}")
    for job in chosen.jobs:
        require(may_change, caller, job, verb)
    if body.only is None:
        return chosen
    seen = set(body.only)
    return Chosen([job for job in chosen.jobs if job.id in seen], frozenset(seen))


def _sorted_out(chosen: Chosen, action: Action) -> tuple[list[Job], list[tuple[Job, str]]]:
    """The jobs to change, and why others are not. Raises UsageError for one that is named and cannot be."""
    jobs: list[Job] = []
    passed_over: list[tuple[Job, str]] = []
    for job in chosen.jobs:
        is_named = job.id not in chosen.members
        if is_named and (why := action.refuses(job)) is not None:
            raise UsageError(why)
        if not is_named and (why := action.passes_over(job)) is not None:
            passed_over.append((job, why))
        else:
            jobs.append(job)
    return jobs, passed_over


def _answer(
    daemon: Daemon, caller: Caller, outcome: Outcome, passed_over: Sequence[tuple[Job, str]]
) -> web.Response:
    return web.json_response(
        {
            "jobs": [daemon.board.json(job, caller) for job in outcome.jobs],
            "notes": {str(job): note for job, note in outcome.notes.items()},
            "passed_over": [{"id": job.id, "state": job.state, "why": why} for job, why in passed_over],
        }
    )


async def _in_batches(
    jobs: Sequence[Job], change: Callable[[Sequence[Job]], list[Job]], daemon: Daemon
) -> list[Job]:
    """Each batch is one transaction, since a disk takes one where it takes a hundred; between them others get
    their turn."""
    changed: list[Job] = []
    for start in range(0, len(jobs), BATCH):
        batch = await committed(partial(_together, daemon, change, jobs[start : start + BATCH]))
        for job in batch:
            daemon.board.put(job)
        changed += batch
        await asyncio.sleep(0)
    return changed


def _together(daemon: Daemon, change: Callable[[Sequence[Job]], list[Job]], jobs: Sequence[Job]) -> list[Job]:
    with daemon.store.together():
        return change(jobs)


async def _cancel(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    cancelled: list[Job] = []
    notes = {job.id: f"had already ended: {job.state}" for job in jobs if job.state.is_final}
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        done = await committed(partial(_cancel_waiting, daemon, caller, batch, body.reason))
        cancelled += [done.get(job.id) or await daemon.cancel(job, caller.user, body.reason) for job in batch]
        await asyncio.sleep(0)
    return Outcome(cancelled, notes)


def _cancel_waiting(daemon: Daemon, caller: Caller, jobs: Sequence[Job], reason: str) -> dict[int, Job]:
    """Of these, those that wait at this moment."""
    latest = [daemon.latest(job.id) for job in jobs]
    waiting = [job for job in latest if job.state is State.PENDING]
    return {job.id: job for job in daemon.cancel_waiting(waiting, caller.user, reason)}


async def _hold(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    return await _set_held(daemon, caller, jobs, True)


async def _release(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    return await _set_held(daemon, caller, jobs, False)


async def _set_held(daemon: Daemon, caller: Caller, jobs: Sequence[Job], held: bool) -> Outcome:
    changed = await _in_batches(
        jobs, lambda batch: [daemon.store.set_held(job.id, held, caller.user) for job in batch], daemon
    )
    await daemon.dispatcher.decision()  # so that the answer says what has come of it
    was = "was held already" if held else "was not held"
    latest = [daemon.board.jobs.get(job.id, job) for job in changed]
    return Outcome(latest, {job.id: was for job in jobs if job.held is held})


async def _requeue(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: RequeueBody) -> Outcome:
    changes = Changes(body.hold, body.finish, body.no_after, body.fresh, body.limit_seconds)
    requeued = await requeue(daemon, caller, jobs, changes)
    copied = zip(requeued.jobs, jobs, strict=True)
    notes = {copy.id: f"is job {job.id} once more" for copy, job in copied if copy.id != job.id}
    return Outcome(
        requeued.jobs,
        {job: "; ".join(filter(None, (notes.get(job), requeued.notes.get(job)))) for job in notes},
    )


async def _prioritize(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: PriorityBody) -> Outcome:
    """Within what the site allows."""
    check_priority(body.priority, daemon.rules.priority, is_admin=caller.is_admin)
    changed = await _in_batches(
        jobs,
        lambda batch: [daemon.store.set_priority(job.id, body.priority, caller.user) for job in batch],
        daemon,
    )
    daemon.dispatcher.wake()
    return Outcome(changed, {job.id: f"priority {body.priority}" for job in changed})


async def _finish(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: IdsBody) -> Outcome:
    """Trainings end after their epochs, as if these had been the last."""
    for job in jobs:
        if "training" not in daemon.store.spec(job.id).resolved:
            raise UsageError(f"job {job.id} applies a model that is trained; there is nothing to finish")
    changed = await _in_batches(
        jobs, lambda batch: [daemon.store.request_finish(job.id, caller.user) for job in batch], daemon
    )
    for job in changed:
        await daemon.attempts.adjust(job)
    return Outcome(changed, {job.id: "ends after its epoch" for job in changed})


async def _limit(daemon: Daemon, caller: Caller, jobs: Sequence[Job], body: LimitBody) -> Outcome:
    changed = await change_limit(daemon, caller, jobs, body.limit_seconds)
    said = "no time limit" if body.limit_seconds is None else f"time limit {duration(body.limit_seconds)}"
    return Outcome(changed, {job.id: said for job in changed})


def _nothing(job: Job) -> str | None:
    return None


def _has_ended(job: Job) -> str | None:
    return f"job {job.id} has already ended: {job.state}" if job.state.is_final else None


def _does_not_wait(job: Job) -> str | None:
    if job.state is State.PENDING:
        return None
    return f"job {job.id} is {job.state}; only a PENDING job can be held or released"


def _is_held(job: Job) -> str | None:
    return _does_not_wait(job) or (f"job {job.id} is held already" if job.held else None)


def _is_not_held(job: Job) -> str | None:
    return _does_not_wait(job) or (None if job.held else f"job {job.id} is not held")


def _is_ending(job: Job) -> str | None:
    if job.state is not State.COMPLETING:
        return None
    return f"job {job.id} is {job.state}; it can be queued again as soon as it has ended"


def _needs_no_requeue(job: Job) -> str | None:
    """Of a group or the like, those are queued again that have ended without success."""
    if job.state.is_final and job.state is not State.COMPLETED:
        return None
    return f"job {job.id} is {job.state}; name it by its number to queue it again"


def _has_no_priority(job: Job) -> str | None:
    ended = f"job {job.id} is {job.state}; only a job that has not ended has a priority"
    return ended if job.state.is_final else None


def _cannot_finish(job: Job) -> str | None:
    if job.state is State.COMPLETED:
        return f"job {job.id} has already ended: {job.state}"
    if job.state.is_final:
        return (
            f"job {job.id} has already ended: {job.state}; `gpujobs requeue --finish {job.id}` makes a model of its "
            "last checkpoint"
        )
    if job.state is State.COMPLETING:
        return f"job {job.id} is {job.state}: it is at its end"
    if job.state is State.PENDING and not job.attempt and job.continues is None:
        return f"job {job.id} has not begun; there is nothing to finish"
    return None


ACTIONS: dict[str, Action] = {
    "cancel": Action(IdsBody, _cancel, _nothing, _has_ended),
    "hold": Action(IdsBody, _hold, _does_not_wait, _is_held),
    "release": Action(IdsBody, _release, _does_not_wait, _is_not_held),
    "requeue": Action(RequeueBody, _requeue, _is_ending, _needs_no_requeue),
    "prioritize": Action(PriorityBody, _prioritize, _has_no_priority, _has_no_priority),
    "finish": Action(IdsBody, _finish, _cannot_finish, _cannot_finish),
    "limit": Action(LimitBody, _limit, _has_ended, _has_ended),
}
