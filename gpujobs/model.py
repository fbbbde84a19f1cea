"""The words of gpujobs: states, reasons, devices, jobs and attempts.

Values only, from the standard library only (and `demand` and `states`); every other module may import this one.
Instants are UTC-aware datetimes, sizes are bytes, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from gpujobs.demand import Demand
from gpujobs.states import FINAL_STATES as FINAL_STATES
from gpujobs.states import GROUP_STATES as GROUP_STATES
from gpujobs.states import State as State


class Reason(StrEnum):
    """Why a job is in its state. `message` beside it says the same in words, with names."""

    NONE = ""
    # Why a PENDING job waits.
    PRIORITY = "Priority"
    RESOURCES = "Resources"
    FOREIGN_PROCESS = "ForeignProcess"
    DEVICE_UNAVAILABLE = "DeviceUnavailable"
    DRIVER_ERROR = "DriverError"
    NODE_STARTING = "NodeStarting"
    NODE_DOWN = "NodeDown"
    HELD = "Held"
    DEPENDENCY = "Dependency"
    BEGIN_TIME = "BeginTime"
    USER_LIMIT = "UserLimit"
    GROUP_LIMIT = "GroupLimit"
    RESERVED = "Reserved"
    PREEMPTING = "Preempting"
    RETRY = "Retry"
    # Why a job ended otherwise than COMPLETED.
    CANCELLED_BY_USER = "CancelledByUser"
    DEPENDENCY_FAILED = "DependencyFailed"
    TIME_LIMIT = "TimeLimit"
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    DEVICE_OUT_OF_MEMORY = "DeviceOutOfMemory"
    TRAINING_ERROR = "TrainingError"
    DATA_ERROR = "DataError"
    NAN_LOSS = "NaNLoss"
    NON_ZERO_EXIT = "NonZeroExit"
    SIGNAL = "Signal"
    DEVICE_MISMATCH = "DeviceMismatch"
    LAUNCH_FAILED = "LaunchFailed"
    SUPERVISOR_LOST = "SupervisorLost"
    FILES_REMOVED = "FilesRemoved"
    NODE_LOST = "NodeLost"
    RESULTS_FAILED = "ResultsFailed"

    @property
    def final_state(self) -> State | None:
        """The final state that this reason leads to; None for a reason to wait."""
        return FINAL_STATE_OF.get(self)

    @property
    def is_retryable(self) -> bool:
        """True where a second attempt may end differently, so that `retries` applies."""
        return self in RETRYABLE


class StopReason(StrEnum):
    """Why an attempt is asked to end. After all but the first two its job goes back to the queue, and loses no
    retry: it was not to blame."""

    CANCEL = "cancel"
    TIME_LIMIT = "time_limit"
    PREEMPT = "preempt"
    """A job of a higher priority needs the device."""
    STRANGER = "stranger"
    """Somebody else's process came to the device between its probe and the start."""
    OUTGROWN = "outgrown"
    """It used more of a shared device's memory than it had reserved."""
    REQUEUE = "requeue"
    """Somebody asked for it."""
    LEASE = "lease"
    """Its box could not reach the daemon for so long that the job may be started elsewhere."""
    SHUTDOWN = "shutdown"
    """The machine, or somebody who sent the supervisor a signal."""

    @property
    def requeues(self) -> bool:
        return self not in (StopReason.CANCEL, StopReason.TIME_LIMIT)


FINAL_STATE_OF = {
    Reason.CANCELLED_BY_USER: State.CANCELLED,
    Reason.DEPENDENCY_FAILED: State.CANCELLED,
    Reason.TIME_LIMIT: State.TIMEOUT,
    Reason.HOST_OUT_OF_MEMORY: State.OUT_OF_MEMORY,
    Reason.DEVICE_OUT_OF_MEMORY: State.OUT_OF_MEMORY,
    Reason.TRAINING_ERROR: State.FAILED,
    Reason.DATA_ERROR: State.FAILED,
    Reason.NAN_LOSS: State.FAILED,
    Reason.NON_ZERO_EXIT: State.FAILED,
    Reason.SIGNAL: State.FAILED,
    Reason.DEVICE_MISMATCH: State.FAILED,
    Reason.LAUNCH_FAILED: State.FAILED,
    Reason.SUPERVISOR_LOST: State.FAILED,
    Reason.FILES_REMOVED: State.FAILED,
    Reason.NODE_LOST: State.FAILED,
    Reason.RESULTS_FAILED: State.FAILED,
}

RETRYABLE = frozenset(
    {
        Reason.SIGNAL,
        Reason.NON_ZERO_EXIT,
        Reason.LAUNCH_FAILED,
        Reason.SUPERVISOR_LOST,
        Reason.NODE_LOST,
    }
)


MAX_PRIORITY = 1_000_000
"""Priorities lie between this and its negative; the higher starts first."""


class Share(StrEnum):
    """Who reads a job's log and results, besides its owner and root."""

    PRIVATE = "private"
    LAB = "lab"
    """The members of the site's share group."""


class DeviceKind(StrEnum):
    GPU = "gpu"
    CPU = "cpu"


class DeviceState(StrEnum):
    """What `gpus` shows. BUSY means a job of ours; FOREIGN, something that is not."""

    FREE = "free"
    BUSY = "busy"
    FOREIGN = "foreign"
    RESERVED = "reserved"
    """Free, but at present for a certain user or group only."""
    DRAINED = "drained"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that NVML reports on a device. `memory_bytes` is None where the driver hides it."""

    pid: int
    user: str | None
    memory_bytes: int | None
    command: str | None
    kind: str = "compute"
    """compute, graphics or mps."""

    since: float | None = None
    """When the process began, in seconds since 1970; it may have come to the device later."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or a CPU slot where there is none, as it was found when it was last asked.

    `uuid` names it everywhere; `index` (NVML's, so PCI bus order) is for people's eyes.
    `fault` is set where the device answered with an error (lost, needs a reset).
    """

    node: str
    kind: DeviceKind
    index: int
    uuid: str
    name: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilization_percent: int | None = None
    temperature_celsius: int | None = None
    power_watts: float | None = None
    processes: tuple[Process, ...] = ()
    fault: str | None = None
    hardware_errors: tuple[str, ...] = ()
    """Why this device should get no more work, though it answers."""
    energy_joules: float | None = None
    """Used since the driver was loaded; of a whole GPU only."""


class NodeStatus(StrEnum):
    STARTING = "starting"
    OK = "ok"
    DRIVER_ERROR = "driver_error"
    """NVML is there but fails: nothing is started on this node, on its CPU neither."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Node:
    """A member machine and its devices, as last probed. `message` explains any status but OK."""

    name: str
    status: NodeStatus
    message: str = ""
    devices: tuple[Device, ...] = ()
    since: datetime | None = None
    """Since when it is away, where that is known."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at running a job: one supervisor, one trainer, one device."""

    job: int
    number: int
    node: str
    device_uuid: str
    device_kind: DeviceKind
    device_index: int
    device_name: str
    started_at: datetime
    running_at: datetime | None = None
    ended_at: datetime | None = None
    pid: int | None = None
    reason: Reason = Reason.NONE
    message: str = ""
    exit_code: int | None = None
    exit_signal: int | None = None
    exit_record: Mapping[str, Any] | None = None
    """What the supervisor wrote into exit.json, once it has."""
    gpu_memory_bytes: int | None = None
    """What it has reserved of a shared device; None holds the device whole."""
    device_memory_bytes: int | None = None
    nonce: str = ""
    """A random id, in its spec, its records and its results: what carries another is not of this attempt."""
    device_use: Mapping[str, Any] | None = None
    """What was sampled of its device, as `measured.sums` writes it; None where nothing was."""


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted job as the store has it, without its job file: `Reader.spec` gives that."""

    id: int
    name: str
    uid: int
    user: str
    state: State
    reason: Reason
    message: str
    demand: Demand
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempt: int
    retries: int
    retries_used: int
    held: bool
    cancel_requested: bool
    continues: int | None = None
    """The job whose checkpoint it begins from."""
    origin: int | None = None
    """The first of the jobs that were queued again as this one."""
    finish: bool = False
    """Its training is to end after the epoch under way, as if that had been the last."""
    begins_anew: bool = False
    """Its next attempt leaves the checkpoints that are there."""
    group: str | None = None
    """The name of the sweep that this job is a member of."""
    group_id: int | None = None
    """The id of the first job of that sweep."""
    sweep_values: Mapping[str, Any] | None = None
    """What the sweep sets for this job, by dotted key."""
    progress: Mapping[str, Any] | None = None
    results: str | None = None
    results_removed_at: datetime | None = None
    """When retention, or somebody by `prune`, has removed them."""
    results_removed_by: str | None = None
    share: Share = Share.PRIVATE
    current: Attempt | None = None
    """The latest attempt, running or ended."""

    @property
    def root(self) -> int:
        """The same for a job and what it was queued again as."""
        return self.origin or self.id

    @property
    def limited_group(self) -> int | None:
        """The id of its group, where only so many of that may run at once."""
        return None if self.demand.at_most is None else self.group_id


@dataclass(frozen=True, slots=True)
class Outline:
    """Of a job that has ended what tells whether it is meant, and where it stands in a list: a hundred thousand of them
    are read while a person does not notice."""

    id: int
    name: str
    uid: int
    user: str
    state: State
    share: Share
    group: str | None
    group_id: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """The jobs of a sweep, counted: of one that was queued again, the newest copy. `id` is that of the first."""

    id: int
    name: str
    uid: int
    user: str
    counts: Mapping[State, int]
    submitted_at: datetime
    started_at: datetime | None
    """When the first of its jobs started."""
    ended_at: datetime | None
    """When the last one ended; None while there is one that has not."""

    @property
    def size(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return sum(count for state, count in self.counts.items() if state.is_final)

    @property
    def state(self) -> State:
        return next(state for state in GROUP_STATES if self.counts.get(state))


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the append-only history of a job."""

    job: int
    at: datetime
    kind: str
    actor: str
    attempt: int | None = None
    from_state: State | None = None
    to_state: State | None = None
    reason: Reason = Reason.NONE
    message: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the kernel says (SO_PEERCRED), and what the site lets them do."""

    uid: int
    gid: int
    pid: int
    user: str
    groups: tuple[int, ...] = field(default=())
    """Supplementary ones, as the kernel has them (SO_PEERGROUPS)."""

    is_admin: bool = False
    """May change anybody's job. Reading what a job has produced is another right."""

    reads_shared: bool = False
    """Is a member of the group that reads jobs with `share: lab`."""

    sees_names: bool = True
    """False where the site hides other people's names, paths and messages from this caller."""

    is_on_page: bool = False
    """Asks with a cookie, which others may have got hold of, and not from a process of the user's."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def iso(instant: datetime | None) -> str | None:
    """ISO 8601 with microseconds and a Z, or None."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
