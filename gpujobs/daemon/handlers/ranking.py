"""`GET /v1/ranking`: the jobs of a group, the best first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from gpujobs.daemon.access.policy import may_read, require
from gpujobs.daemon.handlers.query import chosen_of
from gpujobs.daemon.jobs.queries import JobQueries
from gpujobs.daemon.jobs.ranked import default_criterion, kinds_of_metrics, metrics_of
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.errors import UsageError
from gpujobs.model import Job
from gpujobs.results.ranking import (
    Criterion,
    Figures,
    Mode,
    Ranked,
    chosen,
    figures,
    rank,
)


async def handle(request: web.Request) -> web.Response:
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    group, jobs = await _group_of(request)
    for job in jobs:
        require(may_read, caller, job, "read the results of")
    # Users may have made the files large, or slow to read.
    metrics = await asyncio.to_thread(metrics_of, jobs)
    found = {job: figures(one) for job, one in metrics.items()}
    criterion = _criterion(request, queries, jobs, metrics, found)
    places = {one.job: one for one in (rank(found, criterion) if criterion else ())}
    return web.json_response(
        {
            "group": queries.groups([group], caller)[group],
            "metric": criterion and criterion.metric,
            "mode": criterion and criterion.mode,
            "why": criterion and criterion.why,
            "best": next(iter(places), None),
            "members": [
                _member(queries.json(job, caller), places.get(job.id), found.get(job.id, {}))
                for job in _in_order(jobs, list(places))
            ],
        }
    )


def _member(job: dict[str, Any], place: Ranked | None, found: Figures) -> dict[str, Any]:
    return {"rank": place and place.rank, "value": place and place.value, "figures": found, "job": job}


async def _group_of(request: web.Request) -> tuple[int, list[Job]]:
    """The one group that `ids` names, and its jobs."""
    named = await chosen_of(request)
    groups = {job.group_id for job in named.jobs if job.id in named.members} if named else set()
    if named is None or len(groups) != 1 or len(named.jobs) != len(named.members):
        raise UsageError("expected one group, by its id such as g12 or by its name")
    (group,) = groups
    assert group is not None
    return group, named.jobs


def _criterion(
    request: web.Request,
    queries: JobQueries,
    jobs: Sequence[Job],
    metrics: Mapping[int, Mapping[str, Any]],
    found: Mapping[int, Figures],
) -> Criterion | None:
    known = {name for one in found.values() for name in one}
    metric, mode = request.query.get("metric"), _mode(request)
    if metric:
        return chosen(metric, mode, known, kinds_of_metrics(queries.store, jobs))
    if mode is not None:
        raise UsageError("--mode says which end of a metric is the better one; expected --metric too")
    return default_criterion(queries.store, jobs, metrics, found)


def _mode(request: web.Request) -> Mode | None:
    text = request.query.get("mode")
    if text not in (None, *Mode):
        raise UsageError(f"mode is {text}; expected {' or '.join(Mode)}")
    return None if text is None else Mode(text)


def _in_order(jobs: Sequence[Job], ranked: Sequence[int]) -> list[Job]:
    """Those without a place come last, as they are numbered."""
    by_id = {job.id: job for job in jobs}
    return [by_id.pop(number) for number in ranked] + list(by_id.values())
