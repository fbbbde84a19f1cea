"""A supervisor between two attempts: its trainer has completed one, and waits for another of its kind.

It holds a lock for as long as its trainer lives without an attempt, so that the agent finds whoever waits on a device
whatever was killed meanwhile, and listens for what it is asked (protocol/residents.py). It never waits for long.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpujobs.failpoints import reach
from gpujobs.linux import durable, lease, process, sockets
from gpujobs.paths import AttemptPaths
from gpujobs.protocol import codec
from gpujobs.protocol.codec import Message, ShapeError
from gpujobs.protocol.launcher import Forked, Refused
from gpujobs.protocol.records import AttemptKey, ProcessId, ResidentNote
from gpujobs.protocol.residents import ASKED, Leave, TakeOver, fits
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.supervise.trainer_process import TrainerProcess

WAIT_SECONDS = 2.0
"""Without a word: the daemon, or its agent, is away."""

REQUEST_SECONDS = 0.2
REQUEST_BYTES = 65536

Claim = Callable[[AttemptPaths], int | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """An attempt that was claimed."""

    paths: AttemptPaths
    spec: AttemptSpec
    notify: str | None
    lock: int


class Residency:
    """Of the trainer that has completed `spec`. Raises OSError where it cannot be made known."""

    def __init__(self, directory: Path, spec: AttemptSpec, trainer: TrainerProcess) -> None:
        self._spec, self._trainer = spec, trainer
        self._path = directory / spec.nonce
        directory.mkdir(mode=0o700, exist_ok=True)
        note = self._note()
        self._listener = sockets.listen(self._path.with_suffix(".sock"))
        self._lock: int | None = None
        try:
            self._lock = self._held(note)
        except OSError:
            self.close()
            raise

    def _held(self, note: ResidentNote) -> int:
        """Whoever sees the file finds it locked, unless we have ended."""
        new = self._path.with_suffix(".new")
        lock = durable.lock(new)
        durable.note_holder(lock, codec.write(note))
        new.rename(self._path)
        return lock

    def _note(self) -> ResidentNote:
        spec, trainer = self._spec, self._trainer
        return ResidentNote(
            boot_id=process.boot_id(),
            state_id=spec.state_id,
            last=AttemptKey(spec.job, spec.attempt, spec.nonce),
            device_uuid=spec.device.uuid,
            supervisor=ProcessId(**process.identify(os.getpid())),
            trainer=ProcessId(**process.identify(trainer.pid)),
            cgroup=str(trainer.cgroup.path) if trainer.cgroup is not None else None,
        )

    def wait(self, signals: int, claim: Claim) -> Taken | None:
        """The attempt that it was given; None where it is to end: it was told so, nothing was heard, or the trainer has
        died. `signals`: of which there is something to read when a signal has come."""
        seconds = WAIT_SECONDS
        if self._spec.lease is not None:
            seconds = min(seconds, lease.left(Path(self._spec.lease)) - lease.MARGIN_SECONDS)
        deadline = time.monotonic() + seconds
        reach("resident.wait")
        with selectors.DefaultSelector() as selector:
            for source in (self._listener, signals, self._trainer.ended):
                selector.register(source, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                found = {key.fileobj for key, _ in selector.select(left)}
                if signals in found or self._trainer.ended in found:
                    return None
                if self._listener in found:
                    with self._listener.accept()[0] as connection:
                        is_over, taken = self._answer(connection, claim)
                    if is_over:
                        return taken
        return None

    def _answer(self, connection: socket.socket, claim: Claim) -> tuple[bool, Taken | None]:
        """Whether the wait is over, and what was claimed."""
        connection.settimeout(REQUEST_SECONDS)
        try:
            asked = ASKED.parse(connection.recv(REQUEST_BYTES))
        except (OSError, ShapeError):
            return False, None  # whoever it was has gone
        match asked:
            case TakeOver():
                taken = self._take(asked, claim)
                if taken is not None:
                    self.close()  # whoever hears the answer finds nobody here
                answer = Forked(os.getpid(), is_resident=True)
                refusal = Refused({"code": "launch", "message": "it does not fit"})
                _send(connection, refusal if taken is None else answer)
                return True, taken
            case Leave():
                return True, None
        return False, None

    def _take(self, asked: TakeOver, claim: Claim) -> Taken | None:
        """It judges by itself: one process is one person's, whatever it is asked."""
        paths = AttemptPaths(Path(asked.attempt_dir))
        try:
            reach("resident.claim")
            spec = codec.parse(AttemptSpec, paths.spec.read_bytes(), "spec.json")
            if not self._trainer.is_alive or not fits(self._spec, spec):
                return None
            lock = claim(paths)
            reach("resident.claimed")
        except (OSError, ShapeError):
            return None
        return None if lock is None else Taken(paths, spec, asked.notify, lock)

    def close(self) -> None:
        """When the trainer has an attempt again, or has ended. May be repeated."""
        self._listener.close()
        for path in (self._path.with_suffix(".sock"), self._path.with_suffix(".new"), self._path):
            with contextlib.suppress(OSError):
                path.unlink()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _send(connection: socket.socket, message: Message) -> None:
    with contextlib.suppress(OSError):  # the asker has gone
        connection.sendall(codec.encode(message) + b"\n")
