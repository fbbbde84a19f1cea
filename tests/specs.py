"""Whole specs, records and settings for tests that care for a part of them: the one place that fills in the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpujobs.model import DeviceKind, Job, State
from gpujobs.protocol import codec, events, records
from gpujobs.protocol.events import AttemptEvent
from gpujobs.protocol.records import AttemptKey, ExitRecord
from gpujobs.protocol.settings import NodeSettings
from gpujobs.protocol.spec import AttemptSpec, DataFile, DeviceName, Identity

CPU = DeviceName(DeviceKind.CPU, 0, "CPU-0", "CPU slot")


def own_identity() -> Identity:
    """Of who runs the tests: nothing is changed by it."""
    return Identity(os.getuid(), os.getgid(), tuple(sorted(os.getgroups())), str(Path.home()))


def data_file(path: Path | str, sha256: str = "") -> DataFile:
    size = Path(path).stat().st_size if Path(path).is_file() else 0
    return DataFile(sha256, size, str(path), in_place=False)


def attempt_spec(**fields: Any) -> AttemptSpec:
    whole: dict[str, Any] = {
        "job": 1,
        "attempt": 1,
        "nonce": "",
        "state_id": "",
        "name": "tutorial-lstm",
        "user": "somebody",
        "identity": own_identity(),
        "backend": "tensorflow",
        "device": CPU,
        "all_devices": (),
        "require_gpu": True,
        "cpu_threads": 1,
        "time_limit_seconds": None,
        "grace_seconds": 5.0,
        "finish": False,
        "log_limit_bytes": 256 << 20,
        "is_named": True,
        "job_dir": Path(),
        "submitted_at": "2026-01-01T00:00:00Z",
        "started_at": "2026-01-01T00:00:01Z",
        "jobfile": {},
        "jobfile_path": "job.yaml",
        "data": {},
        "model_results": None,
        "checkpoint_from": (),
        "begins_anew": False,
        "may_stay": False,
        "lease": None,
    }
    return AttemptSpec(**{**whole, **fields})


def spec_json(**fields: Any) -> dict[str, Any]:
    """As spec.json has it."""
    return {**codec.write(attempt_spec()), **fields}


CHECKED = ("identity", "jobfile", "data", "model_results")


def check_json(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Of a spec, what a check is told."""
    return {key: spec[key] for key in CHECKED}


def exit_record(value: Mapping[str, Any] | None = None, *, key: AttemptKey | None = None) -> ExitRecord:
    """`value`: what of it matters, as exit.json has it."""
    return records.kept_of(key or AttemptKey(1, 1, ""), {"state": State.FAILED, **(value or {})})


def event_of(job: Job, what: str, **fields: Any) -> AttemptEvent:
    """An event of the job's present attempt, as a supervisor tells it."""
    assert job.current is not None
    key = codec.write(AttemptKey(job.id, job.attempt, job.current.nonce))
    if "exit" in fields:
        fields["exit"] = codec.write(records.kept_of(AttemptKey(**key), fields["exit"]))
    return events.attempt_event_of({"what": what, **key, **fields})


def node_settings(
    root: Path, *, name: str = "n", cpu_slots: int | None = None, state_id: str = ""
) -> NodeSettings:
    return NodeSettings(name, str(root), cpu_slots, 5.0, state_id, state_id)
