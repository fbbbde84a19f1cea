"""What goes into the store and comes out of it, where `gpujobs.model` has no word for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gpujobs.demand import Demand
from gpujobs.model import Share, State


@dataclass(frozen=True, slots=True)
class DataReference:
    """A data file of a job. `path` is as written in the job file; `in_place`, absolute, is set
    where the file is not copied."""

    path: str
    sha256: str
    bytes: int
    in_place: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be submitted."""

    name: str
    path: str
    source: str
    resolved: Mapping[str, Any]
    demand: Demand
    held: bool
    retries: int
    group: str | None
    data: tuple[DataReference, ...]
    group_start: int = 0
    """With a `group`: the position, among the jobs submitted together, of the group's first one."""
    joins: int | None = None
    """The id of the group, where that exists already."""
    sweep_values: Mapping[str, Any] | None = None
    share: Share = Share.PRIVATE
    continues: int | None = None
    origin: int | None = None
    """Of a job that is queued again: the first of its line."""
    finish: bool = False


@dataclass(frozen=True, slots=True)
class StoredSpec:
    """What was submitted: the file's path and text, and the resolved form."""

    path: str
    source: str
    resolved: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What jobs are chosen by; None leaves a field out. `since`: submitted since then, or ended."""

    uid: int | None = None
    user: str | None = None
    first: int | None = None
    last: int | None = None
    states: frozenset[State] = frozenset()
    since: datetime | None = None
