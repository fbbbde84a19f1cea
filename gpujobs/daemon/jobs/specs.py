"""What an attempt is told: spec.json, from what the store has (docs/protocol.md, section 3)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from typing import Any

from gpujobs.backends import backend_of
from gpujobs.config.site import SiteConfig
from gpujobs.errors import LaunchError
from gpujobs.model import Device, DeviceKind, Job, iso
from gpujobs.paths import StatePaths
from gpujobs.store.records import DataReference
from gpujobs.store.store import Store

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL: time to write a checkpoint."""


MAX_ORIGINS = 100
"""Jobs that were queued again one after the other, whose checkpoints are looked for."""


class Specs:
    """`changes_identity` is true for a site daemon, whose trainers run as the submitting user."""

    def __init__(
        self, store: Store, paths: StatePaths, site: SiteConfig, *, changes_identity: bool, require_gpu: bool
    ) -> None:
        self._store = store
        self._paths = paths
        self.site = site
        self._changes_identity = changes_identity
        self._require_gpu = require_gpu

    def attempt(self, job: Job, devices: Sequence[Device]) -> dict[str, Any]:
        """Raises LaunchError where the job's user is not known on this machine any more."""
        current = job.current
        assert current is not None
        resolved = self._store.spec(job.id).resolved
        return {
            **self._model(job, resolved),
            **self._checkpoint(job),
            "backend": backend_of(resolved),
            "job": job.id,
            "attempt": current.number,
            "nonce": current.nonce,
            "name": job.name,
            "user": job.user,
            "submitted_at": iso(job.submitted_at),
            "started_at": iso(current.started_at),
            "identity": identity(job.uid, self._store.gid(job.id)) if self._changes_identity else None,
            "device": {
                "kind": current.device_kind,
                "index": current.device_index,
                "uuid": current.device_uuid,
                "name": current.device_name,
            },
            "all_devices": [
                {"kind": d.kind, "index": d.index, "uuid": d.uuid, "name": d.name} for d in devices
            ],
            "require_gpu": self._require_gpu,
            "cpu_threads": threads_per_device(devices),
            "time_limit_seconds": job.time_limit_seconds,
            "grace_seconds": GRACE_SECONDS,
            "finish": job.finish,
            "log_limit_bytes": self.site.quotas.log,
            "is_named": not self.site.access.hide_names,
            "job_dir": str(self._paths.job(job.id).root),
            "jobfile": resolved,
            "data": self.data(job.uid, self._store.data(job.id)),
        }

    def _checkpoint(self, job: Job) -> dict[str, Any]:
        """Where the checkpoint to go on from is: of the job that it was queued again of, or, where that has none,
        of the one that that was queued again of. They are all of the same user's."""
        origins: list[int] = []
        origin = job.continues
        while origin is not None and origin not in origins and len(origins) < MAX_ORIGINS:
            origins.append(origin)
            origin = self._store.job(origin).continues
        found = [str(self._paths.job(number).checkpoint) for number in origins]
        return {"checkpoint_from": found, "begins_anew": job.begins_anew}

    def _model(self, job: Job, resolved: Mapping[str, Any]) -> dict[str, str]:
        """Where the results with the model to apply are. They are their user's: the trainer opens them with the
        rights of this job's user, whatever was checked when the job was submitted."""
        trained_by = resolved["model"].get("job")
        if trained_by is None:
            return {}
        results = self._store.job(int(trained_by)).results
        if results is None:
            raise LaunchError(f"the results of job {trained_by}, whose model job {job.id} applies, are gone")
        return {"model_results": results}

    def inspection(
        self, uid: int, gid: int, resolved: dict[str, Any], data: Sequence[DataReference]
    ) -> dict[str, Any]:
        """For a task that looks at a job file and its data without being a job."""
        trained_by = resolved["model"].get("job")
        results = None if trained_by is None else self._store.job(int(trained_by)).results
        return {
            **({} if results is None else {"model_results": results}),
            "identity": identity(uid, gid) if self._changes_identity else None,
            "cpu_threads": len(os.sched_getaffinity(0)),  # somebody waits for it
            "jobfile": resolved,
            "data": self.data(uid, data),
        }

    def data(self, uid: int, references: Sequence[DataReference]) -> dict[str, dict[str, Any]]:
        return {
            reference.path: {
                "sha256": reference.sha256,
                "bytes": reference.bytes,
                "path": reference.in_place or str(self._paths.data(uid, reference.sha256)),
                "in_place": reference.in_place is not None,
            }
            for reference in references
        }


def identity(uid: int, gid: int) -> dict[str, Any]:
    """As a login of theirs would be at this moment. `gid` is the group that they submitted with; whoever has
    left it since has their primary one instead."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise LaunchError(f"uid {uid} is not a user of this machine; the job cannot run as them") from None
    groups = sorted(set(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    own = gid if gid in groups else entry.pw_gid
    return {"uid": uid, "gid": own, "groups": groups, "home": entry.pw_dir}


def threads_per_device(devices: Sequence[Device]) -> int:
    """The machine's cores, shared evenly among the devices of a node, at least one each."""
    cores = len(os.sched_getaffinity(0))
    slots = sum(device.kind is DeviceKind.CPU for device in devices) or len(devices) or 1
    return max(1, cores // slots)
