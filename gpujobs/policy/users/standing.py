"""How a user stands in fair share at this moment, for people."""

from __future__ import annotations

from dataclasses import dataclass

from gpujobs.policy.devices.occupancy import occupancies
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.users.accounts import Accounts


@dataclass(frozen=True, slots=True)
class Standing:
    """`used` and `share` are parts of 1, among the users who compete; `factor` is F. Of the `others` who compete,
    `ahead` have a greater F: at equal class and age their jobs come first."""

    used: float
    share: float
    factor: float
    others: int
    ahead: int


def standing(snapshot: Snapshot, user: str) -> Standing | None:
    """None where the user does not compete, or alone, or where fair share has no weight."""
    if snapshot.rules.priority.weight_fair_share <= 0:
        return None
    accounts = Accounts(snapshot, snapshot.queue(), occupancies(snapshot))
    if user not in accounts or len(accounts.users) < 2:
        return None
    own = accounts[user]
    ahead = sum(accounts[other].factor > own.factor for other in accounts.users)
    used = sum(accounts[other].usage for other in accounts.users)
    return Standing(own.usage / (used or 1.0), own.share, own.factor, len(accounts.users) - 1, ahead)
