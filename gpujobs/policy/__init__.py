"""The scheduling policy: which job starts where, and why the others wait.

Pure: no I/O, no clock, no chance; the standard library only. docs/scheduling.md explains the rules.
"""

from gpujobs.policy.decide import decide
from gpujobs.policy.devices.occupancy import IDLE_MEMORY_BYTES, Occupancy, label, occupancies, occupancy
from gpujobs.policy.inputs.decision import Decision, PendingReason, Preempt, Start
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.queue import Queue
from gpujobs.policy.inputs.rules import Rules
from gpujobs.policy.inputs.snapshot import Allocation, Reservation, Snapshot, Usage

__all__ = [
    "IDLE_MEMORY_BYTES",
    "Allocation",
    "Decision",
    "Occupancy",
    "PendingJob",
    "PendingReason",
    "Preempt",
    "Queue",
    "Reservation",
    "Rules",
    "Snapshot",
    "Start",
    "Usage",
    "decide",
    "label",
    "occupancies",
    "occupancy",
]
