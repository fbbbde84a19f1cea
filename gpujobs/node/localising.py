"""What the daemon's machine says of a job, as this box has it: users, groups, homes, places. On the daemon's own
machine nothing changes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gpujobs.errors import UnfitError
from gpujobs.paths import StatePaths
from gpujobs.protocol.settings import NodeSettings
from gpujobs.protocol.spec import AttemptSpec, DataFile, Identity


def localised(spec: AttemptSpec, settings: NodeSettings, paths: StatePaths) -> AttemptSpec:
    """Raises UnfitError where the job's user is another one here, or none."""
    if not settings.is_remote:
        return spec
    identity = identity_here(spec.user, spec.identity, settings.node_name)
    return replace(
        spec,
        state_id=settings.state_id,
        identity=identity,
        job_dir=paths.job(spec.job).root,
        cpu_threads=_threads(spec),
        data=_data(spec.data, spec.identity.uid, paths),
        model_results=None if spec.model_results is None else str(paths.job(spec.job).model),
        checkpoint_from=(),  # it came with the attempt (`seeding.py`)
        lease=str(paths.lease),
    )


def identity_here(user: str, named: Identity, node: str) -> Identity:
    """Where all runs as one user, that is this box's; else the same name must have the same uid here. Raises
    UnfitError."""
    if os.geteuid() != 0:
        return Identity(
            os.geteuid(), os.getegid(), tuple(sorted(os.getgroups())), str(Path("~").expanduser())
        )
    if problem := user_problem(user, named.uid, node):
        raise UnfitError(problem)
    entry = pwd.getpwuid(named.uid)
    groups = sorted(set(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    own = named.gid if named.gid in groups else entry.pw_gid
    return Identity(entry.pw_uid, own, tuple(groups), entry.pw_dir)


def user_problem(name: str, uid: int, node: str) -> str | None:
    """What differs on this box, in words."""
    if uid == 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return f"{node} has no user {name}; expected one with uid {uid}, as on the daemon's box"
    if entry.pw_uid != uid:
        return (
            f"user {name} has uid {entry.pw_uid} on {node}, and {uid} on the daemon's box; expected the same"
        )
    return None


def _threads(spec: AttemptSpec) -> int:
    """This box's cores, shared evenly among its devices, at least one each."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, len(spec.all_devices)))


def _data(data: Mapping[str, DataFile], uid: int, paths: StatePaths) -> dict[str, DataFile]:
    """What is used in place has the same path everywhere."""
    return {
        name: file if file.in_place else replace(file, path=str(paths.data(uid, file.sha256)))
        for name, file in data.items()
    }
