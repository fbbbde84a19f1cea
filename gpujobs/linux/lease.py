"""Until when the trainers of a box that has joined may go on without a word of the daemon.

Counted in seconds since this boot (CLOCK_BOOTTIME, which nobody sets): the daemon grants a lease from an instant that
this box has named itself, and which is past by then, so that it ends here no later than the daemon believes.
"""

from __future__ import annotations

import time
from pathlib import Path

from gpujobs.linux import durable
from gpujobs.linux.durable import DamagedError
from gpujobs.linux.process import boot_id

MARGIN_SECONDS = 5.0
"""Besides the grace of a stop: so long before the end of its lease a trainer has ended."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def grant(path: Path, until: float) -> None:
    """Never takes back what was granted: an older word may come later."""
    durable.write_json(path, {"boot_id": boot_id(), "until": max(until, now() + left(path))}, durable=False)


def left(path: Path) -> float:
    """Seconds; at most 0 where it has ended, where there is none, or none that can be believed."""
    try:
        value = durable.read_json(path)
    except (DamagedError, OSError):
        return 0.0
    if value is None or value.get("boot_id") != boot_id() or not isinstance(value.get("until"), int | float):
        return 0.0
    return float(value["until"]) - now()


def left_to_train(path: Path, grace_seconds: float) -> float:
    """Seconds until a trainer is stopped, so that it has ended before the lease has; as `left`."""
    return left(path) - grace_seconds - MARGIN_SECONDS
