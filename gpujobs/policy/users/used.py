"""What competing users have used, as of a snapshot."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from gpujobs.policy.devices.occupancy import Occupancy
from gpujobs.policy.inputs.rules import ForeignPolicy
from gpujobs.policy.inputs.snapshot import Allocation, Snapshot
from gpujobs.policy.users.fairshare import account_of, decayed_seconds, device_share, foreign_seconds


def used_seconds(
    snapshot: Snapshot,
    users: Collection[str],
    allocations: Mapping[str, Sequence[Allocation]],
    views: Sequence[Occupancy],
) -> dict[str, float]:
    """Decayed GPU-seconds of `users`: of ended attempts, of running ones so far, and the charge-ahead.

    `allocations`: of each user. `views`: of every device.
    """
    rules = snapshot.rules.priority
    parts = {
        user: [usage.decayed(snapshot.now, rules.half_life_seconds)]
        for user in users
        if (usage := snapshot.usage.get(user))
    }
    totals = {view.device.uuid: view.device.memory_total_bytes for view in views}
    for user, held in allocations.items():
        parts.setdefault(user, []).extend([_running(one, snapshot, totals) for one in held])
    if snapshot.rules.foreign is ForeignPolicy.CHARGE:
        for user, seconds in foreign_seconds(views, rules.charge_ahead_seconds).items():
            parts.setdefault(user, []).append(seconds)
    for user, seconds in _of_absent_members(snapshot, users):
        parts.setdefault(user, []).append(seconds)
    # fsum: the sum must not depend on the order of the snapshot.
    return {user: math.fsum(parts[user]) if user in parts else 0.0 for user in users}


def _running(allocation: Allocation, snapshot: Snapshot, totals: Mapping[str, int | None]) -> float:
    """`totals`: the memory of each device, by UUID."""
    rules = snapshot.rules.priority
    seconds = rules.charge_ahead_seconds
    if allocation.started_at is not None:
        ran = (snapshot.now - allocation.started_at).total_seconds()
        seconds += decayed_seconds(ran, rules.half_life_seconds)
    if allocation.gpu_memory_bytes is None:
        return seconds
    return seconds * device_share(allocation.gpu_memory_bytes, totals.get(allocation.device_uuid))


def _of_absent_members(snapshot: Snapshot, users: Collection[str]) -> Iterator[tuple[str, float]]:
    """What members of a group who do not compete have used: their group's others answer for it, each with
    the same part as of the group's share. Otherwise a group gains by taking turns."""
    shares, groups = snapshot.rules.shares, snapshot.groups
    if not shares.groups:
        return
    present: dict[str | None, list[str]] = {}
    for user in users:
        present.setdefault(account_of(groups.get(user, ()), shares), []).append(user)
    present.pop(None, None)
    absent: dict[str | None, list[float]] = {}
    for user, usage in snapshot.usage.items():
        group = account_of(groups.get(user, ()), shares)
        if group in present and user not in users:
            seconds = usage.decayed(snapshot.now, snapshot.rules.priority.half_life_seconds)
            absent.setdefault(group, []).append(seconds)
    for group, amounts in absent.items():
        weights = {user: shares.users.get(user, 1.0) for user in present[group]}
        total = math.fsum(weights.values()) or 1.0
        for user, weight in weights.items():
            yield user, math.fsum(amounts) * weight / total
