"""The spec of an attempt, and of a check, as docs/protocol.md section 3 has them. Nothing in them has a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from gpujobs.model import DeviceKind
from gpujobs.paths import JobPaths
from gpujobs.protocol.codec import Count, Instant, Message, Number, ShapeError, parse


@dataclass(frozen=True, slots=True)
class Identity(Message):
    """As whom it runs. Where it is the daemon's own, nothing is changed."""

    uid: Count
    gid: Count
    groups: tuple[Count, ...]
    home: str


@dataclass(frozen=True, slots=True)
class DeviceName(Message):
    """A device as an attempt is told of it."""

    kind: DeviceKind
    index: Count
    uuid: str
    name: str

    @property
    def is_gpu(self) -> bool:
        return self.kind is DeviceKind.GPU


@dataclass(frozen=True, slots=True)
class DataFile(Message):
    """A file of the job's data: what it must hash to, and where it is."""

    sha256: str
    bytes: Count
    path: str
    in_place: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec(Message):
    """What to run, as whom and where. `data` has the paths as the job file writes them."""

    job: Number
    attempt: Number
    nonce: str
    """The attempt's random id; what it writes carries it."""
    state_id: str
    """The id of the state directory that the attempt belongs to."""

    name: str
    user: str
    identity: Identity
    backend: str
    device: DeviceName
    all_devices: tuple[DeviceName, ...]
    require_gpu: bool
    cpu_threads: Number
    time_limit_seconds: float | None
    grace_seconds: Annotated[float, Ge(0)]
    finish: bool
    """Whether the training is to end with its next epoch, or at once where it has done some."""

    log_limit_bytes: Count
    is_named: bool
    """Whether `ps` may show the job's name to everybody."""

    job_dir: Path
    submitted_at: Instant
    started_at: Instant
    jobfile: Mapping[str, Any]
    """The resolved job file."""
    jobfile_path: str
    """Where it lies, which its paths are relative to; as the user named it where no absolute path is known."""

    data: Mapping[str, DataFile]
    model_results: str | None
    """The results with the model that it applies, where it applies one."""
    checkpoint_from: tuple[str, ...]
    """Where the checkpoint to go on from may be, the first that is there; besides its own."""
    begins_anew: bool
    """Whether it leaves the checkpoints that are there."""
    may_stay: bool
    """Whether its process may wait for a next job of its kind when it has completed."""
    lease: str | None
    """The file that says until when it may go on without a word of the daemon; None on the daemon's own machine."""

    @property
    def paths(self) -> JobPaths:
        return JobPaths(self.job_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec(Message):
    """A job file and its data that are looked at without being a job."""

    identity: Identity
    jobfile: Mapping[str, Any]
    data: Mapping[str, DataFile]
    model_results: str | None


@dataclass(frozen=True, slots=True)
class SpecHead:
    """Of the spec.json of an attempt that was started, maybe by an earlier version: whose it is. `uid` is None where
    that version has run it as the daemon's own user."""

    job: int
    attempt: int
    nonce: str
    state_id: str
    uid: int | None
    user: str | None
    device_uuid: str | None


@dataclass(frozen=True, slots=True)
class _Owner(Message):
    uid: Count


@dataclass(frozen=True, slots=True)
class _Head(Message):
    """The oldest versions have written neither id, and none of a personal daemon an identity."""

    job: Number
    attempt: Number
    nonce: str = ""
    state_id: str = ""


def head_of(value: Mapping[str, Any]) -> SpecHead:
    """Reads as much as the agent needs of what any version has written. Raises ShapeError."""
    kept = {key: value[key] for key in ("job", "attempt", "nonce", "state_id") if key in value}
    head = parse(_Head, kept, "spec")
    user, device = value.get("user"), value.get("device")
    uuid = device.get("uuid") if isinstance(device, dict) else None
    return SpecHead(
        head.job,
        head.attempt,
        head.nonce,
        head.state_id,
        _uid(value.get("identity")),
        user if isinstance(user, str) else None,
        uuid if isinstance(uuid, str) else None,
    )


def _uid(identity: Any) -> int | None:
    if identity is None:
        return None
    if not isinstance(identity, dict):
        raise ShapeError(f"spec: identity is {identity!r:.60}; expected a uid and groups")
    return parse(_Owner, {key: identity[key] for key in ("uid",) if key in identity}, "spec: identity").uid
