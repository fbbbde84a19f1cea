"""One attempt that is followed: its trainer, what that says and writes, its limits, what is asked of it, its end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from pathlib import Path

from gpujobs.failpoints import reach
from gpujobs.linux import durable, inotify, lease, process, title
from gpujobs.linux.sockets import Notifier
from gpujobs.model import Reason, State, StopReason, utc_now
from gpujobs.paths import AttemptPaths
from gpujobs.protocol import codec, training
from gpujobs.protocol.codec import ShapeError, instant
from gpujobs.protocol.events import AttemptEvent, Exited, Logged, Progressed, Started, Warned
from gpujobs.protocol.events import write_attempt_event as written
from gpujobs.protocol.records import (
    ExitRecord,
    HostUse,
    Progress,
    StopRequest,
    SupervisorRecord,
    Wishes,
)
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.protocol.training import (
    Began,
    Deadline,
    Ended,
    Failed,
    Finishing,
    FinishSoon,
    Noticed,
    Order,
    StopNow,
    Trained,
)
from gpujobs.supervise import attempt_records, trainer_process
from gpujobs.supervise.attempt_log import AttemptLog
from gpujobs.supervise.resident import Residency
from gpujobs.supervise.timers import Timers
from gpujobs.supervise.trainer_process import TrainerProcess
from gpujobs.supervise.verdict import Ending, Verdict, classify

READ_BYTES = 65536
PROGRESS_FILE_SECONDS = 1.0
PROGRESS_NOTE_SECONDS = 0.25
LOG_NOTE_SECONDS = 0.1
WARNING_SECONDS = 300.0
WARNING_SHARE = 0.1
"""A job is warned so long before its time limit, or so large a share of it, whichever is less."""
MAX_LAST_CHUNKS = 256
"""Of READ_BYTES each: who has completed a job and goes on printing is not kept."""

RESIDENTS = "residents"
"""Beside the agent's socket."""

LEASE_ENDED = "its box could not reach the daemon until its lease had ended"

EXIT_RETRY_SECONDS = 2.0
"""Where the exit record cannot be written, as on a full disk."""

WISH_SECONDS = 1.0
"""Two wishes that follow each other so closely may be read together; the signal of the second comes after that."""


class Supervision:
    """The state of one running attempt. `residency` is there when it has ended and its trainer waits for another."""

    def __init__(
        self, paths: AttemptPaths, spec: AttemptSpec, notifier: Notifier, lock: int, signals: int
    ) -> None:
        self.paths, self.spec, self.notifier, self.lock = paths, spec, notifier, lock
        self.signals = signals
        self.trainer: TrainerProcess | None = None
        self.residency: Residency | None = None
        self.has_ended_well = False
        self.watches: list[int] = []
        self.key = (spec.job, spec.attempt, spec.nonce)
        self.selector = selectors.DefaultSelector()
        self.started_at = instant(utc_now())
        self.record: SupervisorRecord | None = None
        self.running_at: str | None = None
        self.error: Failed | None = None
        self.progress: Progress | None = None
        self.stop_reason: StopReason | None = None
        self.stop_message = ""
        self.is_gone = False
        self.has_leftovers = False
        self.status: int | None = None
        self.host: HostUse | None = None
        self.oom_before = process.oom_kills()
        self.message_buffer = b""
        self.time_limit_seconds = self.spec.time_limit_seconds
        self.wishes: Wishes | None = None
        self.wishes_mark: tuple[int, int] | None = None
        self.wished_at = 0.0
        self.began = time.monotonic()
        self.asked_at = 0.0 if spec.lease is None else lease.asked_at(paths.asked)
        self.warnings_left = training.MAX_WARNINGS
        self.log = AttemptLog(paths.log, spec.log_limit_bytes)
        self.timers = Timers()
        self.is_finishing = False

    def follow(self, begin: Callable[[AttemptSpec], TrainerProcess]) -> None:
        """From its start to its exit record. `begin` gives it its trainer."""
        title.set_title(f"gpujobs supervisor: job {self.spec.job}.{self.spec.attempt}")
        try:
            if self._lease_left() <= 0:
                verdict = Verdict(State.CANCELLED, Reason.NONE, LEASE_ENDED, StopReason.LEASE)
            else:
                self.start(begin)
                verdict = self.watch()
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt gets its exit record
            self.has_ended_well = False
            self.kill_all()
            verdict = Verdict(State.FAILED, Reason.LAUNCH_FAILED, f"the supervisor failed: {error!r}")
        self.finish(verdict)

    def start(self, begin: Callable[[AttemptSpec], TrainerProcess]) -> None:
        self.watches.append(self.log.open())
        trainer = self.trainer = begin(self.spec)
        self._write_record()
        self._watch_signals()
        self._watch_directory()
        self.selector.register(trainer.output, selectors.EVENT_READ, self._on_output)
        self.selector.register(trainer.messages, selectors.EVENT_READ, self._on_messages)
        self.selector.register(trainer.ended, selectors.EVENT_READ, self._on_exit)
        self.began = time.monotonic()
        self._limit(self.time_limit_seconds)
        self._hold_lease()

    def watch(self) -> Verdict:
        """Until the trainer has ended, or its job; its descendants too, and its pipes are drained."""
        while self.status is None:
            self._wait()
        if self.has_ended_well and not self._may_stay():
            self.has_ended_well = False
        if not self.has_ended_well:
            self.kill_all()
        for key in list(self.selector.get_map().values()):
            if key.data in (self._on_output, self._on_messages):
                key.data(key.fd)
        verdict = classify(
            Ending(
                status=self.status,
                has_results=attempt_records.has_results(self.spec),
                error=self.error,
                stop_reason=self.stop_reason,
                stop_message=self.stop_message,
                time_limit_seconds=self.time_limit_seconds,
                oom_killed=process.oom_kills() > self.oom_before,
                gone=str(self.paths.root) if self.is_gone else None,
            )
        )
        if self.has_ended_well and (verdict.state is not State.COMPLETED or self._running.is_talking):
            self._end_resident()
        return verdict

    def _may_stay(self) -> bool:
        """A trainer that was asked to end, has left processes or is gone is not kept."""
        trainer = self.trainer
        if trainer is None or self.stop_reason is not None or self.is_gone or not self.spec.may_stay:
            return False
        try:
            return trainer.is_alive and trainer.is_alone
        except OSError:
            return False

    def _end_resident(self) -> None:
        self.has_ended_well = False
        self.kill_all()
        if self.residency is not None:
            self.residency.close()
            self.residency = None

    def kill_all(self) -> None:
        """Ends what the trainer has left behind, and the trainer."""
        group = None if self.trainer is None else self.trainer.cgroup
        self.has_leftovers = not trainer_process.kill_all(group)

    def finish(self, verdict: Verdict) -> None:
        """Writes the last progress and the exit record, and tells the agent. Before that, the directory of the
        job is closed to its user: what is collected is what the trainer has left."""
        if self.spec.identity.uid != os.geteuid():
            self._attempt_write(lambda: self.spec.job_dir.chmod(0o700))
        if self.progress is not None:
            self._write_progress()
        if self.has_ended_well:
            self._stay()
        record = self._exit_record(verdict)
        self._note_in_lock(has_ended=True)
        while not attempt_records.write_exit(self.paths.exit, record):
            if self.residency is not None:
                self._end_resident()  # who waits must be found by the agent that is told of it
            self._note(
                Exited(*self.key, record, stays=False)
            )  # who can keep it elsewhere need not wait for this disk
            time.sleep(EXIT_RETRY_SECONDS)
        self._note(Exited(*self.key, record, stays=self.residency is not None))
        if self.residency is not None:
            self._close()

    def _stay(self) -> None:
        """Makes known that the trainer waits, before anybody hears that the attempt has ended."""
        directory = self.notifier.directory
        assert self.trainer is not None
        try:
            if directory is None:
                raise FileNotFoundError("nobody would ask it")
            self.residency = Residency(directory / RESIDENTS, self.spec, self.trainer)
            reach("resident.stays")
        except OSError:
            self._end_resident()

    def _close(self) -> None:
        """What is this attempt's alone; the trainer's own descriptors stay."""
        self.selector.close()
        for descriptor in (*self.watches, self.lock):
            os.close(descriptor)

    def _note_in_lock(self, **more: bool) -> None:
        known = {} if self.record is None else codec.write(self.record)
        with contextlib.suppress(OSError):
            durable.note_holder(self.lock, {**known, **more})

    def _write_record(self) -> None:
        """The trainer does not depend on it: it is in the lock, too, and a full disk may have room again."""
        self.record = attempt_records.supervisor_record(self.spec, self._running, self.started_at)
        self._note_in_lock()
        try:
            reach("supervisor.record")
            durable.write_json(self.paths.record, codec.write(self.record))
        except OSError:
            self.timers.after(EXIT_RETRY_SECONDS, "record", self._write_record)

    def _exit_record(self, verdict: Verdict) -> ExitRecord:
        lost = f"the log is not whole: {self.log.error}" if self.log.error else ""
        left = "processes that it had started could not be ended" if self.has_leftovers else ""
        return ExitRecord(
            job=self.spec.job,
            attempt=self.spec.attempt,
            nonce=self.spec.nonce,
            state_id=self.spec.state_id,
            state=verdict.state,
            reason=verdict.reason,
            message="; ".join(part for part in (verdict.message, lost, left) if part),
            exit=attempt_records.exit_status(self.status),
            started_at=self.started_at,
            running_at=self.running_at,
            ended_at=instant(utc_now()),
            progress=self.progress,
            stopped_for=verdict.stopped_for,
            costs_retry=True,
            host=self.host,
            trainer_of=attempt_records.trainer_of(self.trainer),
        )

    def _watch_signals(self) -> None:
        self.selector.register(self.signals, selectors.EVENT_READ, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _watch_directory(self) -> None:
        """Our lock is a file of the attempt's directory: when it has no name any more, nobody will ever ask for what
        is trained here, nor ask for its end."""
        with contextlib.suppress(OSError):  # without a watch it is seen when something is written
            watch = inotify.unlinked(self.paths.lock)
            self.watches.append(watch)
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
        if (left := self._lease_left()) > 0:
            self.timers.after(left, "lease", self._hold_lease)
            return
        self.stop_message = LEASE_ENDED
        self._write_log(f"gpujobs: {self.stop_message}; the training is stopped at a checkpoint\n".encode())
        self._stop(StopReason.LEASE)

    def _lease_left(self) -> float:
        """Seconds; 0 too where the lease has ended at any time since the attempt was asked for: it may be elsewhere."""
        if self.spec.lease is None:
            return math.inf
        path = Path(self.spec.lease)
        if not lease.holds_since(path, self.asked_at):
            return 0.0
        return lease.left_to_train(path, self.spec.grace_seconds)

    def _order(self, order: Order) -> None:
        """Asks something of the training, which looks for it after each epoch."""
        with contextlib.suppress(OSError):  # it has ended, or hears nothing
            os.write(self._running.messages, training.written(order))

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
        """Whether somebody has asked for something else than a stop, be it the same once more."""
        try:
            status = self.paths.wishes.stat()
            wishes = codec.parse(Wishes, self.paths.wishes.read_bytes())
        except (OSError, ShapeError):
            return False
        mark = status.st_ino, status.st_mtime_ns
        if mark == self.wishes_mark:
            return time.monotonic() - self.wished_at < WISH_SECONDS
        before, self.wishes = self.wishes, wishes
        self.wishes_mark, self.wished_at = mark, time.monotonic()
        if wishes.finish and not (before and before.finish):
            self._order(FinishSoon())
        if wishes.time_limit_seconds != self.time_limit_seconds:
            self._limit(wishes.time_limit_seconds)
        return True

    def _stop(self, reason: StopReason) -> None:
        if self.stop_reason is not None or self.status is not None:
            return
        self.stop_reason = reason
        self._order(StopNow(reason))
        pid = self._running.pid
        os.kill(pid, signal.SIGTERM)
        self.timers.after(self.spec.grace_seconds, "kill", lambda: os.kill(pid, signal.SIGKILL))

    def _on_exit(self, descriptor: int) -> None:
        if self.status is not None:  # its job was done before
            self.has_ended_well = False
            return
        self.status, self.host = self._running.reap(self.spec.cpu_threads)
        self.selector.unregister(descriptor)
        self.timers.clear()

    def _on_job_done(self) -> None:
        """The trainer has ended its job as if it had exited with 0."""
        self.status, self.has_ended_well = 0, True
        self.host = self._running.used(self.spec.cpu_threads)
        self.timers.clear()

    @property
    def _running(self) -> TrainerProcess:
        assert self.trainer is not None
        return self.trainer

    def _on_output(self, descriptor: int) -> None:
        for chunk in self._read(descriptor):
            self._write_log(chunk)

    def _write_log(self, chunk: bytes) -> None:
        self.log.write(chunk)
        self.timers.throttled("log", LOG_NOTE_SECONDS, self._note_log)

    def _note_log(self) -> None:
        self._note(Logged(*self.key, self.log.size))

    def _on_messages(self, descriptor: int) -> None:
        for chunk in self._read(descriptor):
            *lines, self.message_buffer = (self.message_buffer + chunk).split(b"\n")
            self.message_buffer = self.message_buffer[: training.MAX_LINE_BYTES]
            for line in lines:
                self._on_message(line)

    def _read(self, descriptor: int) -> list[bytes]:
        """What is there, at most 1 MiB while its job runs so that signals and limits get their turn."""
        chunks: list[bytes] = []
        while len(chunks) < (
            16 if self.status is None else MAX_LAST_CHUNKS if self.has_ended_well else math.inf
        ):
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
            case Ended() if self.status is None and self.running_at is not None:
                self._on_job_done()
            case Began() if self.running_at is None:
                self.running_at = instant(utc_now())
                self._note(Started(*self.key, self._running.pid, self.running_at))
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
            self.log.error = error.strerror
            self._look_for_directory()

    def _note(self, event: AttemptEvent) -> None:
        self.notifier.send(json.dumps(written(event)).encode())
