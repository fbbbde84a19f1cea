"""What somebody is told of the own fair share; of others, only how many have used less of theirs."""

from __future__ import annotations

from typing import Any

from gpujobs.daemon.daemon import Daemon, Mode
from gpujobs.model import Caller
from gpujobs.policy.users.standing import standing


def share_of(daemon: Daemon, caller: Caller) -> dict[str, Any] | None:
    """None where there is nothing to share: on a personal daemon, and where nobody else competes."""
    if daemon.mode is not Mode.SITE:
        return None
    found = standing(daemon.view.snapshot(daemon.nodes.known), caller.user)
    if found is None:
        return None
    return {
        "used": round(found.used, 4),
        "share": round(found.share, 4),
        "factor": round(found.factor, 4),
        "half_life_seconds": daemon.rules.priority.half_life_seconds,
        "others": found.others,
        "ahead": found.ahead,
    }
