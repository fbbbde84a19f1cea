"""The spec of an attempt, as docs/protocol.md section 3 has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpujobs.paths import JobPaths


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run, as whom and where. `data` maps a path as written to its hash, size and place."""

    jobfile: Mapping[str, Any]
    data: Mapping[str, Mapping[str, Any]]
    device: Mapping[str, Any]
    job: int = 0
    attempt: int = 0
    nonce: str = ""
    """The attempt's random id; what it writes carries it."""
    state_id: str = ""
    """The id of the state directory that the attempt belongs to."""

    name: str = ""
    user: str = ""
    identity: Identity | None = None
    all_devices: tuple[Mapping[str, Any], ...] = ()
    require_gpu: bool = True
    cpu_threads: int = 1
    time_limit_seconds: float | None = None
    grace_seconds: float = 10.0
    finish: bool = False
    """Whether the training is to end with its next epoch, or at once where it has done some."""

    log_limit_bytes: int = 256 << 20
    is_named: bool = True
    """Whether `ps` may show the job's name to everybody."""

    job_dir: Path = Path()
    submitted_at: str | None = None
    started_at: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> JobPaths:
        return JobPaths(self.job_dir)


def parse(value: Mapping[str, Any]) -> Spec:
    """Raises KeyError, TypeError or ValueError where the spec is not of the protocol's shape."""
    known = {name for name in Spec.__dataclass_fields__ if name != "extra"}
    fields = {key: item for key, item in value.items() if key in known and item is not None}
    if "identity" in fields:
        it = fields["identity"]
        fields["identity"] = Identity(it["uid"], it["gid"], tuple(it["groups"]), it["home"])
    fields["all_devices"] = tuple(fields.get("all_devices", ()))
    fields["job_dir"] = Path(fields.get("job_dir", "."))
    fields.setdefault("device", {"kind": "cpu", "index": 0, "uuid": "", "name": "CPU"})
    extra = {key: item for key, item in value.items() if key not in known}
    return Spec(**fields, extra=extra)
