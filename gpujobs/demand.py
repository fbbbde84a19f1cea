"""What a job asks of the policy: one value, from the job file to the decision.

The standard library only. The store keeps a Demand as `store/demands.py` says; the policy reads it where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from functools import lru_cache
from itertools import chain
from typing import ClassVar, Literal, NamedTuple


class Place(NamedTuple):
    """On which devices a job may start."""

    gpu: int | None = None
    """A GPU by its index; None: any device."""
    nodes: tuple[str, ...] = ()
    """The machines; empty: any."""
    without: tuple[tuple[str, str], ...] = ()
    """Machines that cannot have it, each with why."""
    gpu_name: str | None = None
    """What GPUs are called that will do, as `is_called` reads it; None: any device."""

    @property
    def words(self) -> str:
        device = "device" if self.gpu is None else f"GPU {self.gpu}"
        if self.gpu_name is not None:
            device = f"{'GPU' if self.gpu is None else device} called {self.gpu_name}"
        return f"{device} of {either(self.nodes)}" if self.nodes else device


ANYWHERE = Place()


def either(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`"""
    *head, last = names
    return f"{', '.join(head)} or {last}" if head else last


def is_called(name: str, pattern: str) -> bool:
    """Whether a device of this name is meant: by a part of the name or, where `pattern` has `*` or `?`, by the whole
    of it. Upper and lower case are the same."""
    wanted = pattern.casefold()
    if "*" not in wanted and "?" not in wanted:
        return wanted in name.casefold()
    return _whole_name(wanted).match(name.casefold()) is not None


@lru_cache(maxsize=1024)
def _whole_name(pattern: str) -> re.Pattern[str]:
    """Brackets are no signs of a pattern: names have them."""
    return re.compile(translate(pattern.replace("[", "[[]")))


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The jobs that one waits for, by number."""

    after: tuple[int, ...] = ()
    """They must complete."""
    after_any: tuple[int, ...] = ()
    """They must end, however they do."""
    after_failed: tuple[int, ...] = ()
    """They must end without success; of a group that was named, one of its jobs must."""
    groups: Mapping[int, int] = field(default_factory=dict)
    """Of these jobs, those that are waited for since their group was named: its id."""

    def __iter__(self) -> Iterator[int]:
        """Each of them."""
        return chain(self.after, self.after_any, self.after_failed)


NO_DEPENDENCIES = Dependencies()


@dataclass(frozen=True, slots=True)
class Demand:
    """A new field has a default, which holds for the jobs that were stored before there was one."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    """For the store's codec: what it cannot read is an error."""

    priority: int = 0
    """Its class: the higher starts first."""
    requested_gpu: int | None = None
    """The index that a job file asks for under `resources.gpu`, where it does."""
    gpu_memory: int | Literal["auto"] | None = None
    """Bytes of a device that it agrees to share; None asks for a whole one; `auto`: as much as earlier jobs of its
    family needed, else as was estimated, else a whole one."""
    estimate_bytes: int | None = None
    """For `auto`, as long as nothing was measured."""
    family: str | None = None
    """The same for jobs that need the same memory: model shape, batch, length."""
    exclusive: bool = False
    """A whole device whatever it asks for: it has run out of memory beside others."""
    preemptible: bool = False
    time_limit_seconds: float | None = None
    begin_at: datetime | None = None
    """Not before."""
    at_most: int | None = None
    """So many jobs of its group may run at once."""
    node: str | tuple[str, ...] | None = None
    """The name of the machine, or of several, that a job file asks for under `resources.node`, where it does."""
    awaits: Dependencies = field(default_factory=lambda: NO_DEPENDENCIES)
    without: tuple[tuple[str, str], ...] = ()
    """Machines on which its user's jobs cannot run, each with why. Found out when one was to start: not kept."""
    gpu_name: str | None = None
    """What it asks for under `resources.gpu_name`: a part of a GPU's name, or a pattern of it."""

    @property
    def place(self) -> Place:
        if self.requested_gpu is None and self.node is None and self.gpu_name is None and not self.without:
            return ANYWHERE
        return Place(self.requested_gpu, self.nodes, self.without, self.gpu_name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The machines on which it may start, sorted; empty: on any."""
        if self.node is None:
            return ()
        return (self.node,) if isinstance(self.node, str) else tuple(sorted(set(self.node)))


WHOLE_DEVICE = Demand()
"""What a job asks for that says nothing: a device for itself, whichever that is."""
