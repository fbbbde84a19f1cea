"""What a job asks of the policy: one value, from the job file to the decision.

The standard library only. The store keeps a Demand as `store/demands.py` says; the policy reads it where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import ClassVar, Literal, NamedTuple


class Place(NamedTuple):
    """On which devices a job may start."""

    gpu: int | None = None
    """A GPU by its index; None: any device."""
    node: str | None = None
    """The machine; None: any."""
    without: tuple[tuple[str, str], ...] = ()
    """Machines that cannot have it, each with why."""

    @property
    def words(self) -> str:
        device = "device" if self.gpu is None else f"GPU {self.gpu}"
        return device if self.node is None else f"{device} of {self.node}"


ANYWHERE = Place()


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
    node: str | None = None
    """The name of the machine that a job file asks for under `resources.node`, where it does."""
    awaits: Dependencies = field(default_factory=lambda: NO_DEPENDENCIES)
    without: tuple[tuple[str, str], ...] = ()
    """Machines on which its user's jobs cannot run, each with why. Found out when one was to start: not kept."""

    @property
    def place(self) -> Place:
        if self.requested_gpu is None and self.node is None and not self.without:
            return ANYWHERE
        return Place(self.requested_gpu, self.node, self.without)


WHOLE_DEVICE = Demand()
"""What a job asks for that says nothing: a device for itself, whichever that is."""
