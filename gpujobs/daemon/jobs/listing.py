"""The queue as people look at it: what is active first, and the jobs of a sweep in one row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gpujobs.daemon.api_json import group_json
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Caller, Group, Job, State
from gpujobs.policy import PendingReason

ACTIVE, WAITING, ENDED = range(3)

Row = Job | int
"""A job, or the id of a group."""


def rows(jobs: Iterable[Job], *, unfolded: bool, alone: Collection[int] = ()) -> list[Row]:
    """In the order of display. A group's row stands where the first of its jobs would, for all of them, or
    before them where they are `unfolded`. `alone`: the ids of members that are shown as if they were none.
    """
    blocks: dict[tuple[str, int], list[Row]] = {}
    for job in sorted(jobs, key=_place):
        if job.group_id is None or job.id in alone:
            blocks["job", job.id] = [job]
            continue
        block = blocks.setdefault(("group", job.group_id), [job.group_id])
        if unfolded:
            block.append(job)
    return [row for block in blocks.values() for row in block]


def _place(job: Job) -> tuple[int, int, int]:
    """What runs, then what waits in its turn, then what has ended, the latest first."""
    if job.state.is_final:
        return ENDED, 0, -job.id
    return WAITING if job.state is State.PENDING else ACTIVE, -job.demand.priority, job.id


def describe_groups(
    board: JobCache, groups: Mapping[int, Group], caller: Caller
) -> dict[int, dict[str, Any]]:
    """Groups as JSON, by id, as `caller` is to see them: with how far they are, and why they wait where none
    of their jobs runs."""
    done = {number: float(group.ended) for number, group in groups.items()}
    waits: dict[int, PendingReason] = {}
    for job in board.jobs.values():
        if job.group_id is None or job.group_id not in groups:
            continue
        done[job.group_id] += _share(board.progress.get(job.id))
        if job.group_id not in waits and (wait := board.wait_of(job.id)) is not None:
            waits[job.group_id] = wait
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
