"""What a user may have: limits at once, and limits of what may be submitted.

The checks raise UsageError with the value that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from gpujobs.errors import UsageError
from gpujobs.policy.inputs.rules import Limits, PriorityRules, UserLimits
from gpujobs.policy.inputs.text import count, duration, instant

MAX_AHEAD = timedelta(days=3660)
"""How far in the future a job may begin: the forecast counts on from there, and the calendar has an end."""


def limits_of(user: str, groups: Sequence[str], limits: Limits) -> UserLimits:
    """Each value as named for the user, else the most generous of the user's groups', else the default."""
    if not limits.users and not limits.groups:
        return limits.default
    own = limits.users.get(user, UserLimits())
    of_groups = [limits.groups[group] for group in groups if group in limits.groups]
    return UserLimits(*(_value(field.name, own, of_groups, limits.default) for field in fields(UserLimits)))


def _value(name: str, own: UserLimits, of_groups: Iterable[UserLimits], default: UserLimits) -> Any:
    mine = getattr(own, name)
    if mine is not None:
        return mine
    theirs = [value for one in of_groups if (value := getattr(one, name)) is not None]
    return max(theirs) if theirs else getattr(default, name)


def time_limit_of(asked: float | None, limits: UserLimits) -> float | None:
    """The time limit in seconds of a job that asks for `asked` (None: names none). Raises UsageError."""
    most = limits.max_time_limit_seconds
    if asked is None:
        default = limits.default_time_limit_seconds
        return most if default is None else default if most is None else min(default, most)
    if most is not None and asked > most:
        raise UsageError(f"the time limit is {duration(asked)}; at most {duration(most)} are allowed.")
    return asked


def check_waiting(waiting: int, new: int, limits: UserLimits) -> None:
    """`waiting` jobs of the user wait, `new` more are submitted. Raises UsageError."""
    most = limits.max_waiting
    if most is not None and waiting + new > most:
        raise UsageError(
            f"{count(new, 'job')} submitted while {waiting} of yours wait; at most {most} may wait at once,"
            f" so {max(0, most - waiting)} more are allowed now."
        )


def check_priority(asked: int, rules: PriorityRules, *, is_admin: bool) -> None:
    """Admins may give any class. Raises UsageError."""
    if asked > rules.max_priority and not is_admin:
        raise UsageError(
            f"the priority is {asked}; at most {rules.max_priority} is allowed"
            " (lower ones put your own jobs in order)."
        )


def check_begin(begin_at: datetime, now: datetime) -> None:
    """Raises UsageError for a time in the past, or too far in the future."""
    if begin_at < now:
        raise UsageError(f"the time to begin, {instant(begin_at)}, is in the past; it is {instant(now)} now.")
    if begin_at > now + MAX_AHEAD:
        years = MAX_AHEAD // timedelta(days=366)
        raise UsageError(
            f"the time to begin is in {begin_at.year}; at most {years} years from now are allowed."
        )
