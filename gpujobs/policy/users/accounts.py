"""What each user has used, holds and may hold, and the score of a job that follows from it.

    score = weight_priority * class + weight_fair_share * F + weight_age * A

as in Slurm's multifactor plugin (https://slurm.schedmd.com/priority_multifactor.html), with F of
`fairshare.factor` and A = min(age / max_age, 1). U and S count among the users who compete at this moment.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gpujobs.policy.devices.occupancy import Occupancy
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.queue import Queue
from gpujobs.policy.inputs.rules import UserLimits
from gpujobs.policy.inputs.snapshot import Allocation, Snapshot
from gpujobs.policy.users.fairshare import factor, normalised_shares
from gpujobs.policy.users.limits import limits_of
from gpujobs.policy.users.used import used_seconds


@dataclass(slots=True)
class Account:
    """One user in one decision. `devices`: UUIDs of those the user's jobs are on."""

    user: str
    groups: Sequence[str]
    limits: UserLimits
    share: float
    usage: float
    """GPU-seconds, with the charge-ahead for what is held."""
    factor: float = 1.0
    running: int = 0
    devices: set[str] = field(default_factory=set)

    @property
    def may_run_another(self) -> bool:
        return self.limits.max_running is None or self.running < self.limits.max_running

    @property
    def may_hold_another_device(self) -> bool:
        return self.limits.max_gpus is None or len(self.devices) < self.limits.max_gpus


class Accounts:
    """Of all users who compete: who have a job that could start, or one that holds a device."""

    def __init__(self, snapshot: Snapshot, queue: Queue, views: Sequence[Occupancy]) -> None:
        self._snapshot = snapshot
        self._rules = snapshot.rules.priority
        allocations: dict[str, list[Allocation]] = {}
        for one in snapshot.allocations:
            allocations.setdefault(one.user, []).append(one)
        users = queue.users.keys() | allocations.keys()
        shares = normalised_shares(users, snapshot.groups, snapshot.rules.shares)
        used = used_seconds(snapshot, users, allocations, views)
        self._accounts = {user: self._open(user, shares[user], used[user]) for user in users}
        for user, held in allocations.items():
            account = self._accounts[user]
            account.running = len(held)
            account.devices.update([one.device_uuid for one in held])
        # As if what is free were given: so the total stays the same while a decision gives it.
        free = sum(not view.jobs for view in views)
        self._total = math.fsum(used.values()) + self._rules.charge_ahead_seconds * free or 1.0
        for account in self._accounts.values():
            self._refresh(account)

    def __getitem__(self, user: str) -> Account:
        return self._accounts[user]

    @property
    def users(self) -> Collection[str]:
        return self._accounts.keys()

    def __contains__(self, user: object) -> bool:
        return user in self._accounts

    def score(self, account: Account, job: PendingJob) -> float:
        age = 0.0
        since, begin = job.submitted_at, job.demand.begin_at
        if begin is not None and (since is None or begin > since):
            since = begin
        if since is not None:
            waited = (self._snapshot.now - since).total_seconds()
            age = min(max(waited, 0.0) / self._rules.max_age_seconds, 1.0)
        return (
            self._rules.weight_priority * job.demand.priority
            + self._rules.weight_fair_share * account.factor
            + self._rules.weight_age * age
        )

    def give(self, account: Account, device_uuid: str, share: float) -> None:
        """The user gets `share` of a device: this counts at once, for limits and for whose turn is next."""
        account.running += 1
        account.devices.add(device_uuid)
        account.usage += share * self._rules.charge_ahead_seconds
        self._refresh(account)

    def _refresh(self, account: Account) -> None:
        account.factor = factor(account.usage / self._total, account.share)

    def _open(self, user: str, share: float, usage: float) -> Account:
        groups = self._snapshot.groups.get(user, ())
        return Account(user, groups, limits_of(user, groups, self._snapshot.rules.limits), share, usage)
