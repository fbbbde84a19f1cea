"""What a forked process does before it trains: identity, descriptors, environment, limits."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from typing import NoReturn

from gpujobs.failpoints import reach
from gpujobs.linux import process, title
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.protocol.training import Began, Failed
from gpujobs.supervise.members import next_spec
from gpujobs.supervise.rights import become, offer_to_oom_killer
from gpujobs.trainer import applying, train, training_loop
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.data import notices
from gpujobs.trainer.failures import Stopped, TrainerError, describe, reason_of
from gpujobs.trainer.kept import Kept

MESSAGES_FD = 3


def run_trainer(spec: AttemptSpec, output: int, messages: int) -> NoReturn:
    """The trainer's whole life, in a process that the supervisor has just forked: one job, and those that it is given
    after it. Only what has ended well is followed by another."""
    supervisor = os.getppid()
    code = 1
    try:
        connect_descriptors(output, messages)
        offer_to_oom_killer()
        become(spec.identity)
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)  # it died before the kernel was told to kill us with it
        confine(spec)
        title.set_environment(environment(spec))
        kept = Kept()
        code = train_job(spec, kept, is_first=True)
        while code == 0 and spec.may_stay:
            kept.hand_down()
            leave(spec)
            spec = next_spec(MESSAGES_FD)
            code = 1
            reach("trainer.next")
            confine(spec)
            title.change_environment(environment(spec))
            kept.anew()
            code = train_job(spec, kept, is_first=False)
    except BaseException:  # noqa: BLE001 - this process must never return into the supervisor's code
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)


def leave(spec: AttemptSpec) -> None:
    """Nothing of the job that has ended is held on to, nor written any more."""
    flush()
    os.chdir("/")
    title.set_title(f"gpujobs trainer: resident of {spec.user}")


def train_job(spec: AttemptSpec, kept: Kept, *, is_first: bool) -> int:
    """The exit code. An error goes to the log whole, and to the supervisor as its reason and message."""
    sender = training_loop.Messages(MESSAGES_FD)
    stop = training_loop.StopFlag()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        if is_first:
            backend.take_device(spec)
        sender.send(Began())
        with notices.once():
            if "training" in spec.jobfile:
                train.run(spec, sender, stop, kept)
            else:
                applying.run(spec, sender, stop)
    except Stopped:
        print("Stopped on request.", flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        flush()
        os.kill(os.getpid(), signal.SIGTERM)
    except Exception as error:  # noqa: BLE001 - classified here, whatever it is
        reason = reason_of(error, on_gpu=spec.device.is_gpu).value
        if isinstance(error, TrainerError):  # says itself what is wrong
            print(f"{reason}: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        sender.send(Failed(reason, describe(error).replace("\n", "; ")))
        return 1
    return 0


def connect_descriptors(output: int, messages: int) -> None:
    """Standard input is empty, output and errors go to the supervisor, messages are descriptor 3."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if messages != MESSAGES_FD:
        os.dup2(messages, MESSAGES_FD)
    process.close_all_except(MESSAGES_FD)
    os.set_inheritable(MESSAGES_FD, False)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        assert stream.fileno() == number


def confine(spec: AttemptSpec) -> None:
    """Working directory, umask, limits and title."""
    # That of the launcher's imports, or of the job before: it is found anew in the environment.
    tempfile.tempdir = None
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work = spec.paths.work
    os.chdir(work)
    (work / "tmp").mkdir(mode=0o700, exist_ok=True)
    title.set_title(f"gpujobs trainer: job {spec.job} {spec.name if spec.is_named else ''}".rstrip())


def environment(spec: AttemptSpec) -> dict[str, str]:
    return {
        "HOME": spec.identity.home,
        "USER": spec.user,
        "LOGNAME": spec.user,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
        "TMPDIR": str(spec.paths.work / "tmp"),
        **backend.device_environment(spec),
    }


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
