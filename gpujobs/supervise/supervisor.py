"""The supervisor of an attempt: it outlives the daemon, the agent and the launcher.

It starts the trainer, pumps its output and progress, enforces the time limit, ends it on request, leaves no
process behind, and writes how it ended. A trainer that has completed its job may wait for another, which the
supervisor then follows as it has followed the first. See docs/protocol.md, section 3.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

from gpujobs.failpoints import reach
from gpujobs.linux import durable, process, title
from gpujobs.linux.sockets import Notifier
from gpujobs.model import Reason
from gpujobs.paths import AttemptPaths
from gpujobs.protocol import codec, records
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.events import Exited
from gpujobs.protocol.events import write_attempt_event as written
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.spec import AttemptSpec, head_of
from gpujobs.supervise import trainer_process
from gpujobs.supervise.supervision import Supervision
from gpujobs.supervise.trainer_process import RunTrainer, TrainerProcess


def claim(paths: AttemptPaths) -> int | None:
    """Locks the attempt, then claims it; None where recovery has revoked it, else the descriptor of the lock.

    The lock comes first: whoever finds the claim and no holder of the lock may conclude that we died. It counts while
    we live, so that it need not be on the disk before the record is.
    """
    lock = durable.lock(paths.lock)
    reach("supervisor.claim")
    try:
        durable.create(paths.claim, b"supervisor", durable=False)
    except OSError as error:
        os.close(lock)
        if isinstance(error, FileExistsError):
            return None
        raise
    return lock


def supervise(attempt_dir: str, notify: str | None, run_trainer: RunTrainer) -> None:
    """The whole life of a supervisor, in a process just forked for it, with SIGTERM blocked."""
    paths = AttemptPaths(Path(attempt_dir))
    lock = claim(paths)
    if lock is None:
        return
    notifier = Notifier(notify)
    try:
        spec = codec.parse(AttemptSpec, paths.spec.read_bytes(), "spec.json")
    except (OSError, ShapeError) as error:
        refuse(paths, notifier, error)
        return
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    signals = signal_pipe()
    supervision = Supervision(paths, spec, notifier, lock, signals)
    supervision.follow(lambda spec: trainer_process.fork(spec, run_trainer))
    while (later := after(supervision, signals, run_trainer)) is not None:
        supervision = later


def after(earlier: Supervision, signals: int, run_trainer: RunTrainer) -> Supervision | None:
    """The attempt that its trainer has taken next, when that has ended too; None where there was none."""
    trainer, residency = earlier.trainer, earlier.residency
    if trainer is None or residency is None:
        return None
    title.set_title(f"gpujobs supervisor: resident, after job {earlier.spec.job}")
    taken = residency.wait(signals, claim)
    if taken is None:
        trainer.kill()
    residency.close()  # the attempt's own lock is held, or the trainer has ended
    if taken is None:
        return None
    supervision = Supervision(taken.paths, taken.spec, Notifier(taken.notify), taken.lock, signals)

    def begin(spec: AttemptSpec) -> TrainerProcess:
        try:
            trainer.tell_next(taken.paths.spec, earlier.spec)
        except OSError:  # it has died meanwhile: another one is as good
            trainer.kill()
            trainer.close()
            return trainer_process.fork(spec, run_trainer)
        reach("resident.told")
        return trainer

    supervision.follow(begin)
    return supervision


def signal_pipe() -> int:
    """Of which there is something to read when SIGTERM has come, once that is not blocked any more."""
    wakeup, wakeup_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    return wakeup


def refuse(paths: AttemptPaths, notifier: Notifier, error: Exception) -> None:
    """Nothing is started by a spec that lacks something, its identity above all, or says more than is understood."""
    key, state_id = AttemptKey(*paths.key, ""), ""
    with contextlib.suppress(OSError, ShapeError):  # its id, where that much can be read
        head = head_of(codec.loads(paths.spec.read_bytes()))
        key, state_id = replace(key, nonce=head.nonce), head.state_id
    message = f"the attempt cannot be started: {error}"
    record = records.without_one(key, Reason.LAUNCH_FAILED, message, state_id=state_id)
    durable.write_json(paths.exit, codec.write(record))
    notifier.send(json.dumps(written(Exited(key.job, key.attempt, key.nonce, record, stays=False))).encode())
