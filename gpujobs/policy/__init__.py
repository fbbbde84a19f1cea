"""The scheduling policy: which job starts where, and why the others wait.

Pure: no I/O, no clock, no chance; the standard library only. docs/scheduling.md explains the rules.
"""

from gpujobs.policy.decision import Decision, Preempt, Start, Wait
from gpujobs.policy.occupancy import IDLE_MEMORY_BYTES, Occupancy, label, occupancies, occupancy
from gpujobs.policy.queue import Queue
from gpujobs.policy.rules import Rules
from gpujobs.policy.scheduler import decide
from gpujobs.policy.snapshot import Allocation, Reservation, Snapshot, Usage
from gpujobs.policy.waiting import GpuMemory, WaitingJob

__all__ = [
    "IDLE_MEMORY_BYTES",
    "Allocation",
    "Decision",
    "GpuMemory",
    "Occupancy",
    "Preempt",
    "Queue",
    "Reservation",
    "Rules",
    "Snapshot",
    "Start",
    "Usage",
    "Wait",
    "WaitingJob",
    "decide",
    "label",
    "occupancies",
    "occupancy",
]
