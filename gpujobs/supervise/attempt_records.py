"""What a supervisor keeps beside its attempt: who it is (record.json), and how that has ended (exit.json)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gpujobs.failpoints import reach
from gpujobs.linux import durable, process
from gpujobs.protocol import codec, records
from gpujobs.protocol.records import ExitRecord, ExitStatus, ProcessId, SupervisorRecord
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.supervise.trainer_process import TrainerProcess


def supervisor_record(spec: AttemptSpec, trainer: TrainerProcess, started_at: str) -> SupervisorRecord:
    """Of this process."""
    group = trainer.cgroup
    return SupervisorRecord(
        boot_id=process.boot_id(),
        nonce=spec.nonce,
        state_id=spec.state_id,
        supervisor=ProcessId(**process.identify(os.getpid())),
        trainer=ProcessId(**process.identify(trainer.pid)),
        cgroup=str(group.path) if group is not None else None,
        started_at=started_at,
        hears_wishes=True,
        trainer_of=trainer_of(trainer),
    )


def trainer_of(trainer: TrainerProcess | None) -> int | None:
    """The job that it has trained before."""
    earlier = None if trainer is None else trainer.earlier
    return None if earlier is None else earlier.job


def exit_status(status: int | None) -> ExitStatus:
    """Of waitpid's."""
    if status is None:
        return records.NO_STATUS
    code = os.waitstatus_to_exitcode(status)
    return ExitStatus(code, None) if code >= 0 else ExitStatus(None, -code)


def write_exit(path: Path, record: ExitRecord) -> bool:
    """False where it is worth another try: the lock says meanwhile that nobody else is to conclude."""
    try:
        reach("supervisor.exit")
        durable.write_json(path, codec.write(record))
    except (FileNotFoundError, NotADirectoryError):
        return True  # the job was forgotten
    except OSError:
        return False
    return True


def has_results(spec: AttemptSpec) -> bool:
    try:
        status = os.lstat(spec.paths.results / "metrics.json")
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode)
