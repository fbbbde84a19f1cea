"""`check`: looks at a job's data and builds its model, in a child with the user's rights and a deadline."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gpujobs.backends import TENSORFLOW
from gpujobs.errors import LaunchError, UsageError
from gpujobs.linux import process, title
from gpujobs.model import DeviceKind, utc_now
from gpujobs.protocol import codec
from gpujobs.protocol.codec import instant
from gpujobs.protocol.launcher import Inspected, Refused
from gpujobs.protocol.spec import AttemptSpec, CheckSpec, DeviceName
from gpujobs.supervise import child, rights
from gpujobs.trainer import applying, checking
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.failures import describe

DEADLINE_SECONDS = 60.0
TOO_LATE = f"the check did not end within {DEADLINE_SECONDS:g} seconds, or crashed"
"""Says nothing against the job, which may be submitted."""

ANSWER_MAX_BYTES = 4 << 20


def answer(asked: CheckSpec, connection: int) -> None:
    """In a process forked for it: asks a child without privileges, and relays what it says."""
    relay(lambda writer: answer_as_user(asked, writer), connection, DEADLINE_SECONDS)


def relay(as_user: Callable[[int], None], connection: int, seconds: float) -> None:
    """`as_user` is run in a child, which answers and ends within so long, or is killed."""
    # The launcher's socket must not outlive it here: whoever asked then would wait for nobody.
    process.close_all_except(connection)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        as_user(writer)
        os._exit(70)
    os.close(writer)
    reply = read_answer(reader, seconds) or _error(LaunchError.code, TOO_LATE)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with socket.socket(fileno=connection) as asker:
        asker.setblocking(True)  # the launcher had a deadline on it, which leaves it non-blocking
        asker.sendall(reply.rstrip(b"\n") + b"\n")


def read_answer(reader: int, seconds: float = DEADLINE_SECONDS) -> bytes | None:
    """All that the child writes until it ends; None where it is late, says too much or nothing sensible."""
    deadline, reply = time.monotonic() + seconds, b""
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(reader, 1 << 16)
        reply += chunk
        if not chunk or len(reply) > ANSWER_MAX_BYTES:
            break
    try:
        return json.dumps(json.loads(reply)).encode()
    except ValueError:
        return None


def answer_as_user(asked: CheckSpec, writer: int) -> None:
    try:
        spec = trial(asked, Path())
        null = os.open(os.devnull, os.O_RDWR)
        child.connect_descriptors(null, writer)
        writer = child.MESSAGES_FD
        rights.offer_to_oom_killer()
        rights.become(asked.identity)
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        title.set_environment({**backend.device_environment(spec), "CUDA_VISIBLE_DEVICES": "-1"})
        title.set_title("gpujobs check")
        if "training" in asked.jobfile:
            reply = codec.encode(Inspected(checking.report(spec, values=False)))
        else:
            look_at_predictions(asked)
            reply = codec.encode(Inspected({}))
    except BaseException as error:  # noqa: BLE001 - this process must never return into the launcher's code
        reply = _error(UsageError.code, describe(error))
    while reply:
        reply = reply[os.write(writer, reply) :]
    os._exit(0)


def look_at_predictions(asked: CheckSpec) -> None:
    """Of a job that applies a trained model: whether its data fits. What is written on the way goes away."""
    with tempfile.TemporaryDirectory() as directory:
        placed = trial(asked, Path(directory))
        placed.paths.work.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):  # it is said when it is predicted
            applying.look(placed)


def trial(asked: CheckSpec, directory: Path) -> AttemptSpec:
    """An attempt that is none, on the CPU: what a training looks at its data and builds its model with."""
    now = instant(utc_now())
    return AttemptSpec(
        job=0,
        attempt=0,
        nonce="",
        state_id="",
        name="",
        user="",
        identity=asked.identity,
        backend=TENSORFLOW,
        device=DeviceName(DeviceKind.CPU, 0, "", "CPU"),
        all_devices=(),
        require_gpu=True,
        cpu_threads=len(os.sched_getaffinity(0)),  # somebody waits for it
        time_limit_seconds=None,
        grace_seconds=0.0,
        finish=False,
        log_limit_bytes=0,
        is_named=False,
        job_dir=directory,
        submitted_at=now,
        started_at=now,
        jobfile=asked.jobfile,
        jobfile_path="",
        data=asked.data,
        model_results=asked.model_results,
        checkpoint_from=(),
        may_stay=False,
        begins_anew=False,
        lease=None,
    )


def _error(code: str, message: str) -> bytes:
    return codec.encode(Refused({"code": code, "message": message}))
