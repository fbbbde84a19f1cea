"""What `POST /v1/jobs/VERB` has in common: which jobs are meant, whether they may be changed, and the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gpujobs.daemon.access.policy import may_change, require
from gpujobs.daemon.handlers.pieces import batched, together, write
from gpujobs.daemon.handlers.query import ConditionsBody, body_of
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.references import Choice, Chosen, Reference
from gpujobs.daemon.jobs.service import JobService
from gpujobs.daemon.keys import JOB_QUERIES, JOBS, caller_of
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, State

MAX_IDS = 100_000
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """`notes`: what else there is to say of a job, by its id."""

    jobs: Sequence[Job]
    notes: dict[int, str] = field(default_factory=dict)


Change = Callable[[JobService, Caller, Sequence[Job], Any], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Action:
    """`refuses` says why a job that is named cannot be changed, and `passes_over` why one of many is not: None
    where it is."""

    verb: str
    body: type[IdsBody]
    change: Change
    refuses: Callable[[Job], str | None]
    passes_over: Callable[[Job], str | None]


async def act(request: web.Request, action: Action) -> web.StreamResponse:
    """All jobs are looked at before any is changed. Of those that no number names, those are changed that can be."""
    service, queries, caller = request.app[JOBS], request.app[JOB_QUERIES], caller_of(request)
    body = await body_of(request, action.body)
    chosen = await _chosen(queries, caller, body, action.verb)
    jobs, passed_over = sorted_out(chosen, action)
    if not body.ids:  # who says "all that wait" has not asked about those that do not
        passed_over = []
    if body.dry_run:
        return await _answer(request, Outcome(jobs), passed_over)
    outcome = await action.change(service, caller, jobs, body)
    return await _answer(request, outcome, passed_over)


async def _chosen(queries: JobQueries, caller: Caller, body: IdsBody, verb: str) -> Chosen:
    """Raises where one does not exist, or may not be changed by the caller."""
    if not body.choice:
        raise UsageError(f"expected the jobs to {verb}: numbers, ranges, groups or a condition")
    chosen = await queries.chosen_to_change(caller, body.choice)
    if not chosen.jobs:
        raise UsageError(f"no job is as asked for; `gpujobs status --all` lists what there is to {verb}")
    for job in chosen.jobs:
        require(may_change, caller, job, verb)
    if body.only is None:
        return chosen
    seen = set(body.only)
    return Chosen([job for job in chosen.jobs if job.id in seen], frozenset(seen))


def sorted_out(chosen: Chosen, action: Action) -> tuple[list[Job], list[tuple[Job, str]]]:
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


async def _answer(
    request: web.Request, outcome: Outcome, passed_over: Sequence[tuple[Job, str]]
) -> web.StreamResponse:
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    notes = {str(job): note for job, note in outcome.notes.items()}
    lists = {
        "jobs": ([queries.json(job, caller) for job in some] for some in batched(outcome.jobs)),
        "passed_over": (
            [{"id": job.id, "state": job.state, "why": why} for job, why in some]
            for some in batched(passed_over)
        ),
    }
    return await write(request, together({"notes": notes}, lists))


def nothing(job: Job) -> str | None:
    return None


def has_ended(job: Job) -> str | None:
    return f"job {job.id} has already ended: {job.state}" if job.state.is_final else None


def after_all(jobs: Iterable[Job], said: str) -> dict[int, str]:
    """Notes on jobs that were to be changed: what was changed, or that they have ended before it came to that."""
    return {job.id: f"had already ended: {job.state}" if job.state.is_final else said for job in jobs}


def does_not_wait(job: Job) -> str | None:
    if job.state is State.PENDING:
        return None
    return f"job {job.id} is {job.state}; only a PENDING job can be held or released"
