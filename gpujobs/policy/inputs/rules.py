"""What a site has decided about its queue. Every value has a default; docs/scheduling.md explains each.

`gpujobs.config.site` makes these from gpujobs.toml. `None` as a limit means that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class PriorityRules:
    """score = weight_priority * class + weight_fair_share * F + weight_age * A; see `accounts.score`.

    The defaults make a class outweigh everything, and fair share outweigh age.
    """

    weight_priority: float = 100_000.0
    weight_fair_share: float = 1_000.0
    weight_age: float = 10.0
    max_age_seconds: float = 7 * DAY
    """From this age on, A is 1."""
    half_life_seconds: float = 7 * DAY
    charge_ahead_seconds: float = HOUR
    """Charged for each device at the moment it is given: about the length of a job."""
    max_priority: int = 0
    """The highest class that a user may ask for; admins may give a higher one."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Who is entitled to how much, as weights: of users (1 unless named), and of UNIX groups.

    A user in a group named here shares the group's weight with its other members; the first one counts.
    """

    users: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserLimits:
    max_running: int | None = None
    max_gpus: int | None = None
    """Devices at once; packed jobs on one device count as one."""
    max_waiting: int | None = None
    max_time_limit_seconds: float | None = None
    default_time_limit_seconds: float | None = None
    """For a job that names none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A value named for the user counts before those of the user's groups, these before the default."""

    default: UserLimits = UserLimits()
    users: Mapping[str, UserLimits] = field(default_factory=dict)
    groups: Mapping[str, UserLimits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PackingRules:
    margin_bytes: int = 512 << 20
    """Memory of a shared device that is never given away."""
    settle_seconds: float = 60.0
    """After its start a job's reservation is kept free on top of what it already uses."""
    max_jobs: int = 16
    """On one device."""


class ForeignPolicy(StrEnum):
    """What a process that is not ours means for its device and for its user."""

    AVOID = "avoid"
    """Nothing is started beside it."""
    CHARGE = "charge"
    """As AVOID, and its GPU time counts as its user's."""
    IGNORE = "ignore"
    """Jobs are started beside it, as far as memory allows."""


@dataclass(frozen=True, slots=True)
class ReservationRules:
    default_seconds: float = DAY
    """Of one that names no end."""
    max_seconds: float = 14 * DAY
    max_ahead_seconds: float = 90 * DAY
    """How far in the future one may begin."""


@dataclass(frozen=True, slots=True)
class Rules:
    priority: PriorityRules = PriorityRules()
    shares: Shares = field(default_factory=Shares)
    limits: Limits = field(default_factory=Limits)
    packing: PackingRules = PackingRules()
    foreign: ForeignPolicy = ForeignPolicy.AVOID
    reservations: ReservationRules = ReservationRules()
    excluded: frozenset[str] = frozenset()
    """UUIDs of devices that start nothing."""
    names_people: bool = True
    """Whether reasons name who is on a device, or has reserved it."""
