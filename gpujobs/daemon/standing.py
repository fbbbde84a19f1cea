"""What somebody is told of the own fair share; of others, only how many have used less of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.snapshot_builder import SnapshotBuilder
from gpujobs.model import Caller
from gpujobs.policy.users.standing import standing


@dataclass(frozen=True, slots=True)
class Standing:
    in_force: InForce
    snapshots: SnapshotBuilder
    nodes: Nodes

    def of(self, caller: Caller) -> dict[str, Any] | None:
        """None where there is nothing to share: on a personal daemon, and where nobody else competes."""
        if self.in_force.mode is not Mode.SITE:
            return None
        found = standing(self.snapshots.snapshot(self.nodes.known), caller.user)
        if found is None:
            return None
        return {
            "used": round(found.used, 4),
            "share": round(found.share, 4),
            "factor": round(found.factor, 4),
            "half_life_seconds": self.in_force.rules.priority.half_life_seconds,
            "others": found.others,
            "ahead": found.ahead,
        }
