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
    """Never takes back what was granted: an older word may come later. One that begins after another has ended is
    another lease."""
    here = now()
    earlier = _read(path)
    if earlier is None or earlier[1] <= here:
        earlier = here, 0.0
    began, known = earlier
    value = {"boot_id": boot_id(), "began": began, "until": max(until, known)}
    durable.write_json(path, value, durable=False)


def left(path: Path) -> float:
    """Seconds; at most 0 where it has ended, where there is none, or none that can be believed."""
    lease = _read(path)
    return 0.0 if lease is None else lease[1] - now()


def holds_since(path: Path, instant: float) -> bool:
    """Whether it has lasted from that instant on. Where it has ended meanwhile, and another was granted, the daemon has
    counted on the end of all that was here."""
    lease = _read(path)
    return lease is not None and lease[0] <= instant and now() < lease[1]


def _read(path: Path) -> tuple[float, float] | None:
    """When it began and when it ends. An earlier version has not written the former: then it is long ago."""
    try:
        value = durable.read_json(path)
    except (DamagedError, OSError):
        return None
    if value is None or value.get("boot_id") != boot_id():
        return None
    began, until = value.get("began", 0.0), value.get("until")
    if not isinstance(began, int | float) or not isinstance(until, int | float):
        return None
    return float(began), float(until)


def note_asked(path: Path, at: float) -> None:
    """When an attempt was asked for."""
    durable.write_json(path, {"boot_id": boot_id(), "at": at}, durable=False)


def asked_at(path: Path) -> float:
    """When an attempt was asked for; now, where nobody has noted it."""
    try:
        value = durable.read_json(path) or {}
    except (DamagedError, OSError):
        return now()
    at = value.get("at")
    return float(at) if value.get("boot_id") == boot_id() and isinstance(at, int | float) else now()


def left_to_train(path: Path, grace_seconds: float) -> float:
    """Seconds until a trainer is stopped, so that it has ended before the lease has; as `left`."""
    return left(path) - grace_seconds - MARGIN_SECONDS
