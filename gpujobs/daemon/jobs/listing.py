"""Jobs and groups as they are told of; the order of the queue is `view/order.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gpujobs.daemon.access.policy import may_look_into, sees_names_of
from gpujobs.daemon.api_json import group_json, job_json
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Caller, Group, Job, State, iso
from gpujobs.policy import PendingReason


def describe_job(
    cache: JobCache, job: Job, caller: Caller, expected_start: datetime | None
) -> dict[str, Any]:
    """A job as JSON, as `caller` is to see it; `expected_start` counts while it waits."""
    is_named = sees_names_of(caller, job)
    found = job_json(
        job,
        cache.wait_of(job.id),
        cache.progress.get(job.id),
        expected_start if job.state is State.PENDING else None,
        is_named=is_named,
        shows_sweep=may_look_into(caller, job),
    )
    if is_named and job.held and job.id in cache.lacking:
        found["message"] = cache.lacking[job.id]
    return {
        **found,
        "notice": cache.notices.get(job.id) if is_named else None,
        "trouble": cache.troubles.get(job.id) if is_named else None,
        "away_since": iso(cache.away_since(job)),
    }


def made_of(cache: JobCache, job: Job, expected_start: datetime | None) -> tuple[object, ...]:
    """All on which `describe_job` depends, besides the rights of the caller."""
    told = (table.get(job.id) for table in (cache.progress, cache.lacking, cache.notices, cache.troubles))
    return job, cache.wait_of(job.id), expected_start, cache.away_since(job), *told


def describe_groups(
    cache: JobCache, groups: Mapping[int, Group], caller: Caller
) -> dict[int, dict[str, Any]]:
    """Groups as JSON, by id, as `caller` is to see them: with how far they are, and why they wait where none
    of their jobs runs."""
    done = {number: float(group.ended) for number, group in groups.items()}
    waits: dict[int, PendingReason] = {}
    for number in groups:
        for job in cache.lines.members(number):
            done[number] += _share(cache.progress.get(job.id))
            if number not in waits and (wait := cache.wait_of(job.id)) is not None:
                waits[number] = wait
    return {
        number: group_json(
            group,
            done[number] / group.size,
            waits.get(number),
            is_named=caller.sees_names or caller.uid == group.uid,
        )
        for number, group in groups.items()
    }


def _share(progress: Mapping[str, Any] | None) -> float:
    """How much of a job is done, from 0 to 1."""
    epoch, epochs = (progress or {}).get("epoch"), (progress or {}).get("epochs")
    return min(1.0, epoch / epochs) if epoch and epochs else 0.0
