"""Slurm, as a cluster of this machine alone: munged, slurmctld and slurmd of its own, in a directory of its own."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.support.batch import Batch
from benchmarks.support.machine import free_ports, process
from benchmarks.support.timing import until

NAME = "Slurm"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
READY_SECONDS = 60.0

CONFIGURATION = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs={slots} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    absent = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)" if absent else None


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    configuration = _write_configuration(batch)
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(configuration)}
    script = batch.write_script()

    def run() -> None:
        """One call that makes an array of jobs, each of one processor."""
        wrapped = f'{script} "$SLURM_ARRAY_TASK_ID"'
        command = ["sbatch", f"--array=0-{batch.jobs - 1}", "--output=/dev/null", "--wrap", wrapped]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        batch.wait()

    def is_idle() -> bool:
        command = ["sinfo", "--noheader", "--format=%T"]
        states = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return states.stdout.strip() == "idle"

    with ExitStack() as daemons:
        for command in _daemons(batch, configuration):
            with (batch.scratch / f"{command[0]}.log").open("wb") as log:
                daemons.enter_context(process(*command, env=environment, stdout=log, stderr=log))
        until(is_idle, READY_SECONDS, f"Slurm ({batch.scratch})")
        yield run
        until(
            is_idle, READY_SECONDS, "the end of Slurm's jobs"
        )  # untimed: its job steps report to its daemons


def _daemons(batch: Batch, configuration: Path) -> list[list[str]]:
    """In the foreground all of them, so that they are ours to end."""
    munge = batch.scratch / "munge"
    options = {
        "socket": "socket",
        "key-file": "key",
        "log-file": "log",
        "pid-file": "pid",
        "seed-file": "seed",
    }
    return [
        ["munged", "--foreground", "--force", *(f"--{key}={munge / name}" for key, name in options.items())],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration)],
    ]


def _write_configuration(batch: Batch) -> Path:
    root = batch.scratch
    for name in ("munge", "state", "spool"):
        (root / name).mkdir(mode=0o755)
    key = root / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    path = root / "slurm.conf"
    path.write_text(
        CONFIGURATION.format(
            root=root,
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            ports=free_ports(2),
            slots=batch.slots,
        )
    )
    return path
