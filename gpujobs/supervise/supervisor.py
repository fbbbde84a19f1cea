"""The supervisor of one attempt: it outlives the daemon, the agent and the launcher.

It starts the trainer, pumps its output and progress, enforces the time limit, ends it on request, leaves no
process behind, and writes how it ended. See docs/protocol.md, section 3.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from gpujobs.failpoints import reach
from gpujobs.linux import cgroup, durable, inotify, lease, process, title
from gpujobs.linux.sockets import Notifier
from gpujobs.model import Reason, State, StopReason, utc_now
from gpujobs.paths import AttemptPaths
from gpujobs.protocol import codec, records, training
from gpujobs.protocol.codec import ShapeError, instant
from gpujobs.protocol.events import AttemptEvent, Exited, Logged, Progressed, Started, Warned
from gpujobs.protocol.events import write_attempt_event as written
from gpujobs.protocol.records import (
    AttemptKey,
    ExitRecord,
    ExitStatus,
    HostUse,
    ProcessId,
    Progress,
    StopRequest,
    SupervisorRecord,
    Wishes,
)
from gpujobs.protocol.spec import AttemptSpec, head_of
from gpujobs.protocol.training import (
    Began,
    Deadline,
    Failed,
    Finishing,
    FinishSoon,
    Noticed,
    Order,
    StopNow,
    Trained,
)
from gpujobs.supervise.timers import Timers
from gpujobs.supervise.verdict import Ending, Verdict, classify

READ_BYTES = 65536
PROGRESS_FILE_SECONDS = 1.0
PROGRESS_NOTE_SECONDS = 0.25
LOG_NOTE_SECONDS = 0.1
WARNING_SECONDS = 300.0
WARNING_SHARE = 0.1
"""A job is warned so long before its time limit, or so large a share of it, whichever is less."""
LEFTOVER_SECONDS = 10.0

EXIT_RETRY_SECONDS = 2.0
"""Where the exit record cannot be written, as on a full disk."""


def claim(paths: AttemptPaths) -> int | None:
    """Locks the attempt, then claims it; None where recovery has revoked it, else the descriptor of the lock.

    The lock comes first: whoever finds the claim and no holder of the lock may conclude that we died.
    """
    lock = durable.lock(paths.lock)
    reach("supervisor.claim")
    try:
        durable.create(paths.claim, b"supervisor")
    except FileExistsError:
        return None
    return lock


def supervise(
    attempt_dir: str, notify: str | None, run_trainer: Callable[[AttemptSpec, int, int], NoReturn]
) -> None:
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
    title.set_title(f"gpujobs supervisor: job {spec.job}.{spec.attempt}")
    supervision = Supervision(paths, spec, notifier, lock)
    try:
        supervision.start(run_trainer)
        verdict = supervision.watch()
    except Exception as error:  # noqa: BLE001 - whatever it is, the attempt gets its exit record
        supervision.kill_all()
        verdict = Verdict(State.FAILED, Reason.LAUNCH_FAILED, f"the supervisor failed: {error!r}")
    supervision.finish(verdict)


def refuse(paths: AttemptPaths, notifier: Notifier, error: Exception) -> None:
    """Nothing is started by a spec that lacks something, its identity above all, or says more than is understood."""
    key, state_id = AttemptKey(*paths.key, ""), ""
    with contextlib.suppress(OSError, ShapeError):  # its id, where that much can be read
        head = head_of(codec.loads(paths.spec.read_bytes()))
        key, state_id = replace(key, nonce=head.nonce), head.state_id
    message = f"the attempt cannot be started: {error}"
    record = records.without_one(key, Reason.LAUNCH_FAILED, message, state_id=state_id)
    durable.write_json(paths.exit, codec.write(record))
    notifier.send(json.dumps(written(Exited(key.job, key.attempt, key.nonce, record))).encode())


class Supervision:
    """The state of one running attempt."""

    def __init__(self, paths: AttemptPaths, spec: AttemptSpec, notifier: Notifier, lock: int) -> None:
        self.paths, self.spec, self.notifier, self.lock = paths, spec, notifier, lock
        self.key = (spec.job, spec.attempt, spec.nonce)
        self.selector = selectors.DefaultSelector()
        self.started_at = instant(utc_now())
        self.record: SupervisorRecord | None = None
        self.running_at: str | None = None
        self.error: Failed | None = None
        self.progress: Progress | None = None
        self.stop_reason: StopReason | None = None
        self.stop_message = ""
        self.log_error: str | None = None
        self.is_gone = False
        self.has_leftovers = False
        self.status: int | None = None
        self.host: HostUse | None = None
        self.oom_before = process.oom_kills()
        self.message_buffer = b""
        self.orders = -1
        self.time_limit_seconds = self.spec.time_limit_seconds
        self.wishes: Wishes | None = None
        self.began = time.monotonic()
        self.warnings_left = training.MAX_WARNINGS
        self.log_left = self.spec.log_limit_bytes
        self.cgroup: cgroup.Cgroup | None = None
        self.timers = Timers()
        self.is_finishing = False

    def start(self, run_trainer: Callable[[AttemptSpec, int, int], NoReturn]) -> None:
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        self.log = os.open(self.paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        output, output_in = os.pipe()
        messages, messages_in = (end.detach() for end in socket.socketpair())
        self.orders = messages
        self.cgroup = cgroup.make("gpujobs-{pid}-{start_ticks}".format(**process.identify(os.getpid())))
        reach("spawn.trainer")
        self.trainer = os.fork()
        if self.trainer == 0:
            run_trainer(self.spec, output_in, messages_in)
        if self.cgroup is not None:
            self.cgroup.add(self.trainer)
        os.close(output_in)
        os.close(messages_in)
        self._write_record()
        self._watch_signals()
        self._watch_directory()
        os.set_blocking(output, False)
        os.set_blocking(messages, False)
        self.selector.register(output, selectors.EVENT_READ, self._on_output)
        self.selector.register(messages, selectors.EVENT_READ, self._on_messages)
        self.selector.register(os.pidfd_open(self.trainer), selectors.EVENT_READ, self._on_exit)
        self.began = time.monotonic()
        self._limit(self.time_limit_seconds)
        self._hold_lease()

    def watch(self) -> Verdict:
        """Until the trainer has ended, its descendants too, and its pipes are drained."""
        while self.status is None:
            self._wait()
        self.kill_all()
        for key in list(self.selector.get_map().values()):
            if key.data in (self._on_output, self._on_messages):
                key.data(key.fd)
        return classify(
            Ending(
                status=self.status,
                has_results=self._has_results(),
                error=self.error,
                stop_reason=self.stop_reason,
                stop_message=self.stop_message,
                time_limit_seconds=self.time_limit_seconds,
                oom_killed=process.oom_kills() > self.oom_before,
                gone=str(self.paths.root) if self.is_gone else None,
            )
        )

    def kill_all(self) -> None:
        """Ends what the trainer has left behind, whatever its parent, session or process group."""
        if self.cgroup is not None:
            self.cgroup.kill()
        self.has_leftovers = not process.kill_children(LEFTOVER_SECONDS)
        if self.cgroup is not None:
            self.cgroup.remove()

    def finish(self, verdict: Verdict) -> None:
        """Writes the last progress and the exit record, and tells the agent. Before that, the directory of the
        job is closed to its user: what is collected is what the trainer has left."""
        if self.spec.identity.uid != os.geteuid():
            self._attempt_write(lambda: self.spec.job_dir.chmod(0o700))
        if self.progress is not None:
            self._write_progress()
        record = self._exit_record(verdict)
        self._note_in_lock(has_ended=True)
        while not self._write_exit(record):
            self._note(Exited(*self.key, record))  # who can keep it elsewhere need not wait for this disk
            time.sleep(EXIT_RETRY_SECONDS)
        self._note(Exited(*self.key, record))

    def _write_exit(self, record: ExitRecord) -> bool:
        """False where it is worth another try: the lock says meanwhile that nobody else is to conclude."""
        try:
            reach("supervisor.exit")
            durable.write_json(self.paths.exit, codec.write(record))
        except (FileNotFoundError, NotADirectoryError):
            return True  # the job was forgotten
        except OSError:
            return False
        return True

    def _note_in_lock(self, **more: bool) -> None:
        known = {} if self.record is None else codec.write(self.record)
        with contextlib.suppress(OSError):
            durable.note_holder(self.lock, {**known, **more})

    def _write_record(self) -> None:
        """The trainer does not depend on it: it is in the lock, too, and a full disk may have room again."""
        self.record = self._record()
        self._note_in_lock()
        try:
            reach("supervisor.record")
            durable.write_json(self.paths.record, codec.write(self.record))
        except OSError:
            self.timers.after(EXIT_RETRY_SECONDS, "record", self._write_record)

    def _exit_record(self, verdict: Verdict) -> ExitRecord:
        lost = f"the log is not whole: {self.log_error}" if self.log_error else ""
        left = "processes that it had started could not be ended" if self.has_leftovers else ""
        return ExitRecord(
            job=self.spec.job,
            attempt=self.spec.attempt,
            nonce=self.spec.nonce,
            state_id=self.spec.state_id,
            state=verdict.state,
            reason=verdict.reason,
            message="; ".join(part for part in (verdict.message, lost, left) if part),
            exit=self._exit_status(),
            started_at=self.started_at,
            running_at=self.running_at,
            ended_at=instant(utc_now()),
            progress=self.progress,
            stopped_for=verdict.stopped_for,
            costs_retry=True,
            host=self.host,
        )

    def _exit_status(self) -> ExitStatus:
        if self.status is None:
            return records.NO_STATUS
        code = os.waitstatus_to_exitcode(self.status)
        return ExitStatus(code, None) if code >= 0 else ExitStatus(None, -code)

    def _record(self) -> SupervisorRecord:
        return SupervisorRecord(
            boot_id=process.boot_id(),
            nonce=self.spec.nonce,
            state_id=self.spec.state_id,
            supervisor=ProcessId(**process.identify(os.getpid())),
            trainer=ProcessId(**process.identify(self.trainer)),
            cgroup=str(self.cgroup.path) if self.cgroup is not None else None,
            started_at=self.started_at,
            hears_wishes=True,
        )

    def _watch_signals(self) -> None:
        wakeup, wakeup_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        self.selector.register(wakeup, selectors.EVENT_READ, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _watch_directory(self) -> None:
        """Our lock is a file of the attempt's directory: when it has no name any more, nobody will ever ask for what
        is trained here, nor ask for its end."""
        with contextlib.suppress(OSError):  # without a watch it is seen when something is written
            watch = inotify.unlinked(self.paths.lock)
            self.selector.register(watch, selectors.EVENT_READ, self._on_directory)
        self._look_for_directory()

    def _on_directory(self, descriptor: int) -> None:
        os.read(descriptor, READ_BYTES)
        self._look_for_directory()

    def _look_for_directory(self) -> None:
        if self.is_gone or os.fstat(self.lock).st_nlink > 0:
            return
        self.is_gone = True
        self._write_log(b"gpujobs: the directory of this attempt was removed; the training is ended\n")
        self._stop(StopReason.SHUTDOWN)

    def _wait(self) -> None:
        for key, _ in self.selector.select(self.timers.seconds_left()):
            key.data(key.fd)
        self.timers.do_what_is_due()

    def _limit(self, seconds: float | None) -> None:
        """Counted from the start of the trainer; None: without a limit. In place of an earlier one."""
        self.time_limit_seconds = seconds
        for name in ("warning", "limit"):
            self.timers.drop(name)
        self._order(Deadline(None if not seconds else self.began + seconds))
        if not seconds:
            return
        left = min(WARNING_SECONDS, WARNING_SHARE * seconds)
        passed = time.monotonic() - self.began
        if passed < seconds - left:
            self.timers.after(seconds - left - passed, "warning", lambda: self._warn(left))
        self.timers.after(seconds - passed, "limit", lambda: self._stop(StopReason.TIME_LIMIT))

    def _hold_lease(self) -> None:
        """On a box that is not the daemon's own. Its end is looked at when the last one that was known has come: it was
        put off meanwhile, or the daemon has not been heard of since."""
        if self.spec.lease is None or self.stop_reason is not None:
            return  # what was asked for first is what counts
        left = lease.left_to_train(Path(self.spec.lease), self.spec.grace_seconds)
        if left > 0:
            self.timers.after(left, "lease", self._hold_lease)
            return
        self.stop_message = "its box could not reach the daemon until its lease had ended"
        self._write_log(f"gpujobs: {self.stop_message}; the training is stopped at a checkpoint\n".encode())
        self._stop(StopReason.LEASE)

    def _order(self, order: Order) -> None:
        """Asks something of the training, which looks for it after each epoch."""
        with contextlib.suppress(OSError):  # it has ended, or hears nothing
            os.write(self.orders, training.written(order))

    def _warn(self, left: float) -> None:
        message = f"the time limit is reached in {left:g} seconds; then the job is stopped at a checkpoint"
        self._write_log(f"gpujobs: {message}\n".encode())
        self._note(Warned(*self.key, message))

    def _on_signal(self, descriptor: int) -> None:
        os.read(descriptor, 4096)
        if self.stop_reason is not None:
            return  # the first request is the one that counts
        if not self.paths.stop.exists() and self._hear_wishes():
            return
        try:
            request = codec.parse(StopRequest, self.paths.stop.read_bytes())
            self.stop_message, reason = request.message, request.reason
        except (OSError, ShapeError):
            reason = StopReason.SHUTDOWN  # nobody asked for this job's end: it may be started again
        self._stop(reason)

    def _hear_wishes(self) -> bool:
        """Whether somebody has asked for something else than a stop since the last time."""
        try:
            wishes = codec.parse(Wishes, self.paths.wishes.read_bytes())
        except (OSError, ShapeError):
            return False
        if wishes == self.wishes:
            return False
        self.wishes = wishes
        if wishes.finish:
            self._order(FinishSoon())
        if wishes.time_limit_seconds != self.time_limit_seconds:
            self._limit(wishes.time_limit_seconds)
        return True

    def _stop(self, reason: StopReason) -> None:
        if self.stop_reason is not None or self.status is not None:
            return
        self.stop_reason = reason
        self._order(StopNow(reason))
        os.kill(self.trainer, signal.SIGTERM)
        self.timers.after(self.spec.grace_seconds, "kill", lambda: os.kill(self.trainer, signal.SIGKILL))

    def _on_exit(self, descriptor: int) -> None:
        _, self.status, used = os.wait4(self.trainer, 0)
        self.host = HostUse(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime, self.spec.cpu_threads)
        self.selector.unregister(descriptor)
        self.timers.clear()

    def _on_output(self, descriptor: int) -> None:
        for chunk in self._read(descriptor):
            self._write_log(chunk)

    def _write_log(self, chunk: bytes) -> None:
        try:
            self._log(chunk)
        except OSError as error:
            self.log_error = error.strerror
        self.timers.throttled("log", LOG_NOTE_SECONDS, self._note_log)

    def _note_log(self) -> None:
        self._note(Logged(*self.key, os.fstat(self.log).st_size))

    def _log(self, chunk: bytes) -> None:
        """Keeps the beginning of a log that is too long, and says so."""
        kept, self.log_left = chunk[: max(0, self.log_left)], self.log_left - len(chunk)
        if self.log_left < 0 and self.log_error is None:
            self.log_error = f"it was cut at {self.spec.log_limit_bytes} bytes"
            kept += f"\n[this log is cut here, at {self.spec.log_limit_bytes} bytes]\n".encode()
        while kept:
            kept = kept[os.write(self.log, kept) :]

    def _on_messages(self, descriptor: int) -> None:
        for chunk in self._read(descriptor):
            *lines, self.message_buffer = (self.message_buffer + chunk).split(b"\n")
            self.message_buffer = self.message_buffer[: training.MAX_LINE_BYTES]
            for line in lines:
                self._on_message(line)

    def _read(self, descriptor: int) -> list[bytes]:
        """What is there, at most 1 MiB while the trainer lives so that signals and limits get their turn."""
        chunks: list[bytes] = []
        while self.status is not None or len(chunks) < 16:
            try:
                chunk = os.read(descriptor, READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:  # it has ended with orders unread
                chunk = b""
            if not chunk:
                self.selector.unregister(descriptor)
                break
            chunks.append(chunk)
        return chunks

    def _on_message(self, line: bytes) -> None:
        match training.said(line):
            case Failed() as error:
                self.error = error
            case Began() if self.running_at is None:
                self.running_at = instant(utc_now())
                self._note(Started(*self.key, self.trainer, self.running_at))
            case Finishing() if not self.is_finishing:
                self.is_finishing = True
                self._note(Warned(*self.key, "the training finishes before its last epoch"))
            case Trained(progress):
                self.progress = progress
                self.timers.throttled("note", PROGRESS_NOTE_SECONDS, self._note_progress)
                self.timers.throttled("file", PROGRESS_FILE_SECONDS, self._write_progress)
            case Noticed(message) if self.warnings_left > 0:
                self.warnings_left -= 1
                self._note(Warned(*self.key, message))

    def _note_progress(self) -> None:
        self._note(Progressed(*self.key, self.progress or {}))

    def _write_progress(self) -> None:
        self._attempt_write(lambda: durable.write_json(self.paths.progress, self.progress, durable=False))

    def _attempt_write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:  # a full disk must not end the training
            self.log_error = error.strerror
            self._look_for_directory()

    def _has_results(self) -> bool:
        try:
            status = os.lstat(self.spec.paths.results / "metrics.json")
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode)

    def _note(self, event: AttemptEvent) -> None:
        self.notifier.send(json.dumps(written(event)).encode())
