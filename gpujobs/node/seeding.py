"""What came to this box for an attempt besides its data gets its place: the model that it applies, and the checkpoint
that it goes on from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gpujobs.errors import LauncherError
from gpujobs.node import arrivals
from gpujobs.paths import JobPaths, StatePaths
from gpujobs.protocol.boxes import Blob, Brought, TreeFile
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.results.handover import exchange, give_away


def mark_read(paths: StatePaths, spec: AttemptSpec, brought: Brought) -> None:
    """Raises LauncherError where something of it is gone: it comes again."""
    uid = spec.identity.uid
    blobs = [Blob(uid, file.sha256, file.bytes) for file in spec.data.values() if not file.in_place]
    trees = (*brought.model, *(brought.checkpoint or ()))
    blobs += [Blob(uid, file.sha256, file.bytes) for file in trees]
    if arrivals.lacking(paths, tuple(blobs)):
        raise LauncherError("what it needs was here, and had to make way meanwhile; it comes again")
    arrivals.mark_read(paths, blobs)


def place(paths: StatePaths, spec: AttemptSpec, brought: Brought) -> None:
    """The directories of the attempt are made, and nothing of the job lives here. Raises OSError. Blocks."""
    job, uid = paths.job(spec.job), spec.identity.uid
    shutil.rmtree(job.model, ignore_errors=True)
    if brought.model:
        job.model.mkdir()
        job.model.chmod(0o711)
        for file in brought.model:
            os.link(paths.data(uid, file.sha256), job.model / plain(file))
    if brought.checkpoint is not None:
        _replace_checkpoint(paths, job, spec, brought.checkpoint)


def _replace_checkpoint(
    paths: StatePaths, job: JobPaths, spec: AttemptSpec, files: tuple[TreeFile, ...]
) -> None:
    shutil.rmtree(job.fresh, ignore_errors=True)
    made = job.fresh / job.checkpoint.name
    made.mkdir(mode=0o700, parents=True)
    for file in files:
        _copy(paths.data(spec.identity.uid, file.sha256), made / plain(file))
    give_away(made, spec.identity.uid, spec.identity.gid, None)
    exchange(job.work, job.checkpoint.name, made)
    shutil.rmtree(job.fresh, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """A file of its own, which the job may replace, and which is taken home again."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def plain(file: TreeFile) -> str:
    if file.name != Path(file.name).name:
        raise LauncherError(f"{file.name!r} is no plain name of a file")
    return file.name
