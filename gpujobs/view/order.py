"""The order of the queue as people look at it: what is active first, and the jobs of a sweep in one row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain, islice

from gpujobs.model import Job, Outline, State

ACTIVE, WAITING = range(2)

Turn = tuple[int, int, int]

Row = Job | Outline | int
"""A job, or the id of a group."""


def rows(
    jobs: Iterable[Job | Outline], *, unfolded: bool, alone: Collection[int] = (), own_uid: int | None = None
) -> list[Row]:
    """In the order of display, the jobs of `own_uid` before those of others that have ended as little. A group's row
    stands where the first of its jobs would, for all of them, or before them where they are `unfolded`. `alone`: the
    ids of members that are shown as if they were none.
    """
    blocks: dict[tuple[str, int], list[Row]] = {}
    for job in sorted(jobs, key=_place_for(own_uid)):
        if job.group_id is None or job.id in alone:
            blocks["job", job.id] = [job]
            continue
        block = blocks.setdefault(("group", job.group_id), [job.group_id])
        if unfolded:
            block.append(job)
    return [row for block in blocks.values() for row in block]


def _place_for(own_uid: int | None) -> Callable[[Job | Outline], tuple[bool, bool, int, int, int]]:
    """What runs, then what waits in its turn, then what has ended, the latest first."""

    def place(job: Job | Outline) -> tuple[bool, bool, int, int, int]:
        is_others = own_uid is not None and job.uid != own_uid
        if isinstance(job, Outline) or job.state.is_final:
            return True, is_others, 0, 0, -job.id
        return False, is_others, *turn(job)

    return place


def turn(job: Job) -> Turn:
    """Of one that has not ended."""
    return WAITING if job.state is State.PENDING else ACTIVE, -job.demand.priority, job.id


def first_rows(lined_up: Iterable[Job], ended: Iterable[Job], own_uid: int, limit: int) -> list[Row]:
    """The first `limit` of `rows`, folded. `lined_up`: those that have not ended, in their turn, own ones first; no
    more of them is looked at than is shown."""
    folded = (job if job.group_id is None else job.group_id for job in chain(
        lined_up, sorted(ended, key=_place_for(own_uid))
    ))  # fmt: skip
    seen: set[int] = set()
    return list(islice((row for row in folded if _is_first(row, seen)), limit))


def _is_first(row: Row, seen: set[int]) -> bool:
    if not isinstance(row, int):
        return True
    is_new = row not in seen
    seen.add(row)
    return is_new
