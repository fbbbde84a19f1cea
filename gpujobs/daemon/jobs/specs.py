"""What an attempt is told: spec.json, from what the store has (docs/protocol.md, section 3)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpujobs.backends import backend_of
from gpujobs.config.site import SiteConfig
from gpujobs.errors import LaunchError
from gpujobs.model import Device, DeviceKind, Job
from gpujobs.paths import StatePaths
from gpujobs.protocol.codec import instant
from gpujobs.protocol.spec import AttemptSpec, CheckSpec, DataFile, DeviceName, Identity
from gpujobs.store.records import DataReference
from gpujobs.store.store import Store

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL: time to write a checkpoint."""


MAX_ORIGINS = 100
"""Jobs that were queued again one after the other, whose checkpoints are looked for."""


class Specs:
    """`changes_identity` is true for a site daemon, whose trainers run as the submitting user; those of another run
    as its own, and their specs say so."""

    def __init__(
        self,
        store: Store,
        paths: StatePaths,
        site: SiteConfig,
        state_id: str,
        *,
        changes_identity: bool,
        require_gpu: bool,
    ) -> None:
        self._store = store
        self._state_id = state_id
        self._paths = paths
        self.site = site
        self._changes_identity = changes_identity
        self._require_gpu = require_gpu

    def attempt(self, job: Job, devices: Sequence[Device]) -> AttemptSpec:
        """Raises LaunchError where the job's user is not known on this machine any more."""
        current = job.current
        assert current is not None
        spec = self._store.spec(job.id)
        return AttemptSpec(
            job=job.id,
            attempt=current.number,
            nonce=current.nonce,
            state_id=self._state_id,
            name=job.name,
            user=job.user,
            identity=self.identity(job.uid, self._store.gid(job.id)),
            backend=backend_of(spec.resolved),
            device=DeviceName(
                current.device_kind, current.device_index, current.device_uuid, current.device_name
            ),
            all_devices=tuple(DeviceName(d.kind, d.index, d.uuid, d.name) for d in devices),
            require_gpu=self._require_gpu,
            cpu_threads=threads_per_device(devices),
            time_limit_seconds=job.demand.time_limit_seconds,
            grace_seconds=GRACE_SECONDS,
            finish=job.finish,
            log_limit_bytes=self.site.quotas.log,
            is_named=not self.site.access.hide_names,
            job_dir=self._paths.job(job.id).root,
            submitted_at=instant(job.submitted_at),
            started_at=instant(current.started_at),
            jobfile=spec.resolved,
            jobfile_path=spec.path,
            data=self.data(job.uid, self._store.data(job.id)),
            model_results=self._model(job, spec.resolved),
            checkpoint_from=tuple(str(self._paths.job(one).checkpoint) for one in self.origins(job)),
            begins_anew=job.begins_anew,
            may_stay=self.site.trainers.resident and "training" in spec.resolved,
            lease=None,
        )

    def identity(self, uid: int, gid: int) -> Identity:
        """As whom what a user has asked for runs. Raises LaunchError where there is no such user any more."""
        return identity(uid, gid) if self._changes_identity else own_identity()

    def origins(self, job: Job) -> tuple[int, ...]:
        """Whose checkpoint it goes on from: that of the job that it was queued again of, or, where that has none,
        of the one that that was queued again of. They are all of the same user's."""
        origins: list[int] = []
        origin = job.continues
        while origin is not None and origin not in origins and len(origins) < MAX_ORIGINS:
            origins.append(origin)
            origin = self._store.job(origin).continues
        return tuple(origins)

    def _model(self, job: Job, resolved: Mapping[str, Any]) -> str | None:
        """Where the results with the model to apply are. They are their user's: the trainer opens them with the
        rights of this job's user, whatever was checked when the job was submitted."""
        trained_by = resolved["model"].get("job")
        if trained_by is None:
            return None
        results = self._store.job(int(trained_by)).results
        if results is None:
            raise LaunchError(f"the results of job {trained_by}, whose model job {job.id} applies, are gone")
        return results

    def check(
        self, uid: int, gid: int, resolved: Mapping[str, Any], data: Sequence[DataReference]
    ) -> CheckSpec:
        """For a look at a job file and its data without a job."""
        trained_by = resolved["model"].get("job")
        return CheckSpec(
            identity=self.identity(uid, gid),
            jobfile=resolved,
            data=self.data(uid, data),
            model_results=None if trained_by is None else self._store.job(int(trained_by)).results,
        )

    def data(self, uid: int, references: Sequence[DataReference]) -> dict[str, DataFile]:
        return {
            reference.path: DataFile(
                reference.sha256,
                reference.bytes,
                reference.in_place or str(self._paths.data(uid, reference.sha256)),
                reference.in_place is not None,
            )
            for reference in references
        }


def identity(uid: int, gid: int) -> Identity:
    """As a login of theirs would be at this moment. `gid` is the group that they submitted with; whoever has
    left it since has their primary one instead."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise LaunchError(f"uid {uid} is not a user of this machine; the job cannot run as them") from None
    groups = sorted(set(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    own = gid if gid in groups else entry.pw_gid
    return Identity(uid, own, tuple(groups), entry.pw_dir)


def own_identity() -> Identity:
    """The daemon's. Its user need not be known to the machine, as in a container that runs as any uid."""
    return Identity(os.geteuid(), os.getegid(), tuple(sorted(os.getgroups())), str(Path("~").expanduser()))


def threads_per_device(devices: Sequence[Device]) -> int:
    """The machine's cores, shared evenly among the devices of a node, at least one each."""
    cores = len(os.sched_getaffinity(0))
    slots = sum(device.kind is DeviceKind.CPU for device in devices) or len(devices) or 1
    return max(1, cores // slots)
