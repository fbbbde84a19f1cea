"""Groups as they are told of; the order of the queue is `view/order.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpujobs.daemon.api_json import group_json
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.model import Caller, Group
from gpujobs.policy import PendingReason
from gpujobs.view.order import rows as rows


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
