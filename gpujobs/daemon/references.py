"""What people call jobs by: `7` is a job, `g7` the group whose first job is 7, anything else the name of a
group of the caller's, of which the newest is meant.

So a name that is all digits, or `g` and digits, never names a group: such a group is called by its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gpujobs.model import Caller, Job
from gpujobs.store.store import Store

Reference = int | str

_JOB = re.compile(r"[0-9]{1,30}")
_GROUP = re.compile(r"g([1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Jobs in the order in which they were named, each once."""

    jobs: list[Job]
    members: frozenset[int]
    """The ids of those that are meant only since their group is."""

    @property
    def ids(self) -> list[int]:
        return [job.id for job in self.jobs]


def parsed(reference: Reference) -> Reference:
    """A job's number as such, however it is written."""
    is_number = isinstance(reference, str) and _JOB.fullmatch(reference)
    return int(reference) if is_number else reference


def choose(store: Store, caller: Caller, references: Iterable[Reference]) -> Chosen:
    """Raises UsageError that names what does not exist."""
    unique = dict.fromkeys(parsed(reference) for reference in references)
    named = [reference for reference in unique if isinstance(reference, int)]
    found: dict[int, Job] = {job.id: job for job in store.jobs(named)}
    members: dict[int, Job] = {}
    for reference in unique:
        if isinstance(reference, str):
            members |= {job.id: job for job in store.members(group_id(store, caller, reference))}
    return Chosen(list((found | members).values()), frozenset(members.keys() - found.keys()))


def group_id(store: Store, caller: Caller, reference: str) -> int:
    """Of a group's id or name, whether or not there is such a group id. Raises UsageError for a name that
    the caller has no group of."""
    number = _GROUP.fullmatch(reference)
    return int(number[1]) if number else store.newest_group(caller.uid, reference)
