"""Which of what ended jobs have left is to go: rules, and what there is, in; a list of removals out. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from gpujobs.config.site import Retention
from gpujobs.store.pruning import EndedJob

FRESH = timedelta(hours=1)
"""Data that came so lately may belong to a submission that is still on its way."""


class Kind(StrEnum):
    RESULTS = "results"
    CHECKPOINTS = "checkpoints"
    LOGS = "logs"
    DATA = "data"
    JOBS = "jobs"
    """The record of a job, of which nothing else is left."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How old what is removed must be, and how much of a kind one user may keep; a kind that is in neither stays."""

    ages: Mapping[Kind, timedelta] = field(default_factory=dict)
    sizes: Mapping[Kind, int] = field(default_factory=dict)
    """Bytes of one user."""


def rules_of(retention: Retention) -> Rules:
    ages = {kind: getattr(retention, kind) for kind in Kind}
    sizes = {kind: getattr(retention, f"{kind}_size", None) for kind in Kind}
    return Rules(
        {kind: timedelta(seconds=age) for kind, age in ages.items() if age is not None},
        {kind: size for kind, size in sizes.items() if size is not None},
    )


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is there. `since`: when its job ended, or the last of the jobs that used the data."""

    kind: Kind
    uid: int
    user: str | None
    since: datetime
    bytes: int
    job: int | None = None
    sha256: str | None = None
    name: str | None = None
    """Of what was kept aside, and no job knows of."""
    node: str | None = None
    """The box that has it, where that is not the daemon's."""
    places: tuple[Path, ...] = ()
    """What is deleted: files and directories in directories of the daemon's own."""


def chosen(there: Iterable[Left], rules: Rules, needed: Collection[int], now: datetime) -> list[Left]:
    """The oldest first. `needed` are jobs of which nothing may go."""
    by_user: defaultdict[tuple[Kind, int], list[Left]] = defaultdict(list)
    for one in sorted(there, key=lambda one: one.since):
        by_user[one.kind, one.uid].append(one)
    found = [one for lefts in by_user.values() for one in _of_user(lefts, rules, needed, now)]
    return sorted(found, key=lambda one: one.since)


def _of_user(lefts: Sequence[Left], rules: Rules, needed: Collection[int], now: datetime) -> Iterator[Left]:
    """Of one kind and user, the oldest first: what is too old, and what is too much."""
    kind = lefts[0].kind
    age, most = rules.ages.get(kind), rules.sizes.get(kind)
    total = sum(one.bytes for one in lefts)
    for one in lefts:
        is_old = age is not None and one.since <= now - age
        is_much = most is not None and total > most
        is_fresh = kind is Kind.DATA and one.since > now - FRESH
        if (is_old or is_much) and one.job not in needed and not is_fresh:
            total -= one.bytes
            yield one


def records(
    ended: Sequence[EndedJob],
    remaining: Collection[int],
    rules: Rules,
    staying: Collection[int],
    now: datetime,
) -> list[Left]:
    """Jobs whose record may go: nothing of them is among the `remaining` ids, they are not `staying`, and, since the
    first job of a group is its name, all of their group may go. The first comes last, for the others name it."""
    age = rules.ages.get(Kind.JOBS)
    if age is None:
        return []

    def may_go(job: EndedJob) -> bool:
        return job.ended_at <= now - age and job.id not in staying and job.id not in remaining

    whole = {job.group_id for job in ended if job.group_id is not None and not may_go(job)}
    going = [job for job in ended if may_go(job) and (job.group_id is None or job.group_id not in whole)]
    going.sort(key=lambda job: job.id, reverse=True)
    return [Left(Kind.JOBS, job.uid, job.user, job.ended_at, 0, job.id) for job in going]
