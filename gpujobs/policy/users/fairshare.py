"""Fair share: who is entitled to what, and how much of it was used.

The model is that of Slurm's multifactor plugin with its classic algorithm, "Simplified Fair-Share Formula":
F = 2**(-U/S), U a user's part of all usage, decayed by half-life, S the user's normalised share.
https://slurm.schedmd.com/classic_fair_share.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from gpujobs.policy.devices.occupancy import Occupancy
from gpujobs.policy.inputs.rules import Shares
from gpujobs.policy.inputs.snapshot import Usage


def factor(usage_share: float, share: float) -> float:
    """F: 1 for nothing used, 0.5 for exactly the share, towards 0 beyond. A share of 0 gives 0."""
    return 2.0 ** -(usage_share / share) if share > 0 else 0.0


def account_of(groups: Sequence[str], shares: Shares) -> str | None:
    """The group whose weight a member of `groups` shares: the first of the configured ones."""
    return next((group for group in shares.groups if group in groups), None)


def normalised_shares(
    users: Iterable[str], groups: Mapping[str, tuple[str, ...]], shares: Shares
) -> dict[str, float]:
    """Of each user, among these users alone; the sum is 1 (or 0 where every weight is)."""
    weights = {user: shares.users.get(user, 1.0) for user in users}
    if not shares.groups:
        total = math.fsum(weights.values()) or 1.0
        return {user: weight / total for user, weight in weights.items()}
    accounts: dict[tuple[str | None, str], list[str]] = {}
    for user in weights:
        group = account_of(groups.get(user, ()), shares)
        accounts.setdefault((group, "" if group else user), []).append(user)
    of_account = {(group, user): shares.groups[group] if group else weights[user] for group, user in accounts}
    total = math.fsum(of_account.values())
    result = {}
    for account, members in accounts.items():
        inside = math.fsum(weights[user] for user in members)
        for user in members:
            part = weights[user] / inside if inside else 0.0
            result[user] = part * of_account[account] / total if total else 0.0
    return result


def decayed_seconds(seconds: float, half_life_seconds: float) -> float:
    """What `seconds` of use that end now count: the integral of 0.5**(t / half_life) over them."""
    rate = math.log(2) / half_life_seconds
    return -math.expm1(-rate * max(0.0, seconds)) / rate


def device_share(gpu_memory_bytes: int | None, memory_total_bytes: int | None) -> float:
    """The part of a device that an allocation is charged for: of its memory where it shares it, else all."""
    if gpu_memory_bytes is None or not memory_total_bytes:
        return 1.0
    return min(1.0, gpu_memory_bytes / memory_total_bytes)


def with_attempt(
    usage: Usage | None, share: float, started_at: datetime, ended_at: datetime, half_life_seconds: float
) -> Usage:
    """A user's usage after an attempt that held `share` of a device. `usage` None: the user's first."""
    before = usage.decayed(ended_at, half_life_seconds) if usage else 0.0
    seconds = (ended_at - started_at).total_seconds()
    return Usage(before + share * decayed_seconds(seconds, half_life_seconds), ended_at)


def foreign_seconds(views: Iterable[Occupancy], seconds: float) -> dict[str, float]:
    """GPU-seconds to charge to the users of foreign processes that were seen for `seconds`: each device once."""
    charged: dict[str, float] = {}
    for view in views:
        for user in {process.user for process in view.foreign if process.user}:
            charged[user] = charged.get(user, 0.0) + seconds
    return charged
