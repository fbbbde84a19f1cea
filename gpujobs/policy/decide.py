"""Which job starts where, which stops for another, and why the others wait: a pure function of a snapshot.

No I/O, no clock, no chance. Gather (who is on which device), order (whose turn it is), assign (each job its
device): O(devices + users), and O(log n) for each job that is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from gpujobs.policy.cycle.scheduling_cycle import SchedulingCycle
from gpujobs.policy.devices.memory import settled_since
from gpujobs.policy.devices.reservations import borders
from gpujobs.policy.inputs.decision import Decision
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.reasons.pending_reasons import PendingReasons


def decide(snapshot: Snapshot) -> Decision:
    """Starts and preemptions for this moment, and a reason for each job that waits on.

    Nothing of the caller's is changed. An owner of a Queue who advances it spares a copy whenever a job's time to
    begin has come.
    """
    queue = snapshot.queue().advanced(snapshot.now)
    round = SchedulingCycle(snapshot, queue)
    round.assign()
    return Decision(
        starts=tuple(round.starts.values()),
        waits=PendingReasons(round),
        preemptions=tuple(round.preemptions),
        next_change_at=_next_change(round),
    )


def _next_change(round: SchedulingCycle) -> datetime | None:
    """The earliest instant at which the same jobs and devices may give another decision."""
    snapshot, instants = round.snapshot, []
    if (begin := round.queue.next_begin) is not None:
        instants.append(begin)
    if round.queue.has_ready:
        instants += borders(snapshot.reservations, snapshot.now)
        instants += _settlings(round)
    return min(instants, default=None)


def _settlings(round: SchedulingCycle) -> Iterator[datetime]:
    """When packed jobs will have settled, where what is in use is planned twice until then."""
    packing = round.snapshot.rules.packing
    since = settled_since(round.snapshot.now, packing)
    for view in round.views:
        if view.device.memory_used_bytes:
            for one in view.allocations:
                if one.gpu_memory_bytes is not None and one.started_at is not None and one.started_at > since:
                    yield one.started_at + timedelta(seconds=packing.settle_seconds)
