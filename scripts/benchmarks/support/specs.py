"""Specs for what measures a part of a training in its own process."""

from __future__ import annotations

from pathlib import Path

from gpujobs.daemon.jobs.specs import own_identity
from gpujobs.jobfile import ResolvedJob
from gpujobs.protocol.spec import AttemptSpec, CheckSpec, DataFile


def spec_of(job: ResolvedJob, files: Path, scratch: Path) -> AttemptSpec:
    """Of a job whose data lies in `files`, and which may write below `scratch`."""
    from gpujobs.supervise.inspection import trial

    data = {path: DataFile("", 0, str(files / path), in_place=True) for path in job.data_paths}
    asked = CheckSpec(identity=own_identity(), jobfile=job.resolved, data=data, model_results=None)
    return trial(asked, scratch)
