"""The states of jobs and groups, apart from `model`: commands show them, and need nothing else of it."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life. The names are Slurm's."""

    PENDING = "PENDING"
    """Accepted and stored; waits for a device, or for its release if it is held."""
    STARTING = "STARTING"
    """A device is allocated and an attempt is recorded; the trainer is being launched."""
    RUNNING = "RUNNING"
    """The trainer has reported its first line."""
    COMPLETING = "COMPLETING"
    """The attempt has ended; its results are being collected."""
    COMPLETED = "COMPLETED"
    """Final: trained, and the results are whole."""
    FAILED = "FAILED"
    """Final: the reason says why."""
    CANCELLED = "CANCELLED"
    """Final: somebody asked for it."""
    TIMEOUT = "TIMEOUT"
    """Final: the time limit of the job was reached."""
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    """Final: the host's or the device's memory did not suffice."""

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES

    @property
    def holds_device(self) -> bool:
        """A COMPLETING job holds none: its trainer has ended, and with it the use of the device."""
        return self in (State.STARTING, State.RUNNING)


FINAL_STATES = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMEOUT, State.OUT_OF_MEMORY})

GROUP_STATES = (
    State.RUNNING,
    State.STARTING,
    State.COMPLETING,
    State.PENDING,
    State.FAILED,
    State.OUT_OF_MEMORY,
    State.TIMEOUT,
    State.CANCELLED,
    State.COMPLETED,
)
"""The state of a group is the first of these that one of its jobs is in."""
