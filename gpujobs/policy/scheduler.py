"""Which job starts where, which stops for another, and why the others wait: a pure function of a snapshot.

No I/O, no clock, no chance. Gather (who is on which device), order (whose turn it is), assign (each job its
device): O(devices + users), and O(log n) for each job that is looked at.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from gpujobs.policy.decision import Decision
from gpujobs.policy.memory import settled_since
from gpujobs.policy.queue import Queue
from gpujobs.policy.reservations import borders
from gpujobs.policy.round import Round
from gpujobs.policy.snapshot import Snapshot
from gpujobs.policy.waits import Waits


def decide(snapshot: Snapshot) -> Decision:
    """Starts and preemptions for this moment, and a reason for each job that waits on.

    A Queue in the snapshot is not changed, but that jobs line up in it whose time to begin has come.
    """
    queue = snapshot.queue()
    queue.advance(snapshot.now)
    round = Round(snapshot, queue)
    round.assign()
    return Decision(
        starts=tuple(round.starts.values()),
        waits=Waits(round),
        preemptions=tuple(round.preemptions),
        next_change_at=_next_change(snapshot, queue),
    )


def _next_change(snapshot: Snapshot, queue: Queue) -> datetime | None:
    """The earliest instant at which the same jobs and devices may give another decision."""
    instants = []
    if (begin := queue.next_begin(snapshot.now)) is not None:
        instants.append(begin)
    if queue.has_ready:
        instants += borders(snapshot.reservations, snapshot.now)
        instants += _settlings(snapshot)
    return min(instants, default=None)


def _settlings(snapshot: Snapshot) -> list[datetime]:
    """When packed jobs will have settled, where that frees what is planned twice until then."""
    packing = snapshot.rules.packing
    since = settled_since(snapshot.now, packing)
    return [
        one.started_at + timedelta(seconds=packing.settle_seconds)
        for one in snapshot.allocations
        if one.started_at is not None
        and one.started_at > since
        and one.measured_bytes
        and one.gpu_memory_bytes is not None
    ]
