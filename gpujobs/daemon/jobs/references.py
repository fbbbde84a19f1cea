"""What people call jobs by, and how they choose them.

`7` is a job, `60-65` a range of numbers, `g7` the group whose first job is 7, anything else the name of a group
of the caller's, of which the newest is meant. Beside them, or instead, stand `user`, `mine`, `name`, `state` and
`since`. So a name that is all digits, a range, or `g` and digits, never names a group: it is called by its id.

A group stands for its members as they are now: of one that was queued again, the newest. What is chosen by a
range or a condition is the caller's own, unless `user` says whose: numbers of several people lie side by side.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gpujobs.daemon.access.policy import sees_names_of
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, Outline, State
from gpujobs.store.reader import MAX_ID, Reader
from gpujobs.store.records import Wanted

Reference = int | str

_JOB = re.compile(r"[0-9]{1,30}")
_RANGE = re.compile(r"([0-9]{1,30})-([0-9]{1,30})")
_GROUP = re.compile(r"g([1-9][0-9]{0,17})")


FEW = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """Jobs as they were asked for. Without `references`, `conditions` choose out of all."""

    references: Sequence[Reference] = ()
    user: str | None = None
    mine: bool = False
    name: str | None = None
    """As in the shell: `*`, `?` and `[...]`."""
    states: frozenset[State] = frozenset()
    since: datetime | None = None
    """Submitted since then, or ended."""

    @property
    def has_conditions(self) -> bool:
        return bool(self.user or self.mine or self.name or self.states or self.since)

    def __bool__(self) -> bool:
        return bool(self.references) or self.has_conditions

    def matches(self, caller: Caller, job: Job) -> bool:
        return self.fits(caller, job) and (
            self.since is None or (job.ended_at or job.submitted_at) >= self.since
        )

    def fits(self, caller: Caller, job: Job | Outline) -> bool:
        """But for `since`."""
        if self.mine and job.uid != caller.uid:
            return False
        if (self.user or self.name) and not sees_names_of(caller, job):
            return False
        if self.user is not None and job.user != self.user:
            return False
        if self.name is not None and not any(
            fnmatch.fnmatchcase(name, self.name) for name in (job.name, job.group or "")
        ):
            return False
        return not self.states or job.state in self.states


@dataclass(frozen=True, slots=True)
class Chosen:
    """Jobs in the order in which they were named, each once."""

    jobs: list[Job]
    members: frozenset[int]
    """The ids of those that no number names: chosen by a range, a group or a condition."""

    @property
    def ids(self) -> list[int]:
        return [job.id for job in self.jobs]


def parsed(reference: Reference) -> Reference:
    """A job's number as such, however it is written."""
    is_number = isinstance(reference, str) and _JOB.fullmatch(reference)
    return int(reference) if is_number else reference


def are_few(choice: Choice) -> bool:
    """Whether no more is named than some jobs, by their numbers."""
    named = [parsed(reference) for reference in choice.references]
    return 0 < len(named) <= FEW and all(isinstance(one, int) for one in named)


def is_range(reference: Reference) -> bool:
    return isinstance(reference, str) and _RANGE.fullmatch(reference) is not None


def choose(
    store: Reader, caller: Caller, choice: Choice | Iterable[Reference], *, own: bool = False
) -> Chosen:
    """Raises UsageError that names what does not exist, and where nothing matches. `own`: of ranges and
    conditions, only the caller's own jobs are meant unless the choice says whose."""
    if not isinstance(choice, Choice):
        choice = Choice(list(choice))
    unique = dict.fromkeys(parsed(reference) for reference in choice.references)
    named = [reference for reference in unique if isinstance(reference, int)]
    found: dict[int, Job] = {job.id: job for job in store.jobs(named)}
    members: dict[int, Job] = {}
    whose = Wanted(uid=caller.uid if choice.mine or (own and not choice.user) else None, user=choice.user)
    for reference in unique:
        if isinstance(reference, str):
            members |= {job.id: job for job in _several(store, caller, reference, choice, whose)}
    if not unique and choice.has_conditions:
        wanted = Wanted(whose.uid, whose.user, None, None, choice.states, choice.since)
        members = {job.id: job for job in store.matching(wanted)}
    jobs = [job for job in (found | members).values() if choice.matches(caller, job)]
    return Chosen(jobs, frozenset(members.keys() - found.keys()))


def _several(store: Reader, caller: Caller, reference: str, choice: Choice, whose: Wanted) -> Iterable[Job]:
    if numbers := _RANGE.fullmatch(reference):
        return _range(store, int(numbers[1]), int(numbers[2]), whose)
    members = store.members(group_id(store, caller, reference, choice.user))
    replaced = store.replaced([job.id for job in members])
    return [job for job in members if job.id not in replaced]


def _range(store: Reader, first: int, last: int, whose: Wanted) -> list[Job]:
    text = f"{first}-{last}"
    if last < first:
        raise UsageError(f"{text}: expected the smaller number first")
    found = store.matching(Wanted(whose.uid, whose.user, first, min(last, MAX_ID)))
    if not found:
        of = f"of {whose.user}'s " if whose.user else "of yours " if whose.uid is not None else ""
        hint = " (--user NAME chooses those of somebody else)" if whose.uid is not None else ""
        raise UsageError(f"{text}: no job {of}has a number from {first} to {last}{hint}")
    return found


def group_id(store: Reader, caller: Caller, reference: str, user: str | None = None) -> int:
    """Of a group's id or name, whether or not there is such a group id. Raises UsageError for a name that
    the caller, or `user`, has no group of."""
    number = _GROUP.fullmatch(reference)
    if number:
        return int(number[1])
    if user is None or user == caller.user:
        return store.newest_group(caller.uid, reference)
    return (
        store.newest_group_of(user, reference)
        if caller.sees_names
        else store.newest_group(caller.uid, reference)
    )
