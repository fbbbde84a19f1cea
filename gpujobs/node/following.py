"""Following the supervisors of this node: what they say, and their end."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from gpujobs.linux import durable
from gpujobs.linux.saying import say
from gpujobs.linux.sockets import short_path
from gpujobs.node import attempts
from gpujobs.node.attempts import Attempt
from gpujobs.node.unheard import Unheard
from gpujobs.protocol.codec import ShapeError
from gpujobs.protocol.events import AttemptEvent, Exited, Unclear, attempt_event_of
from gpujobs.protocol.instructions import AttemptStatus
from gpujobs.protocol.records import AttemptKey


class Following:
    """`path`: of the socket on which supervisors tell what happens. `follows` is false where nobody waits for events.
    The end of an attempt is told once."""

    def __init__(self, path: Path, *, follows: bool = True) -> None:
        self._path, self._follows = path, follows
        self.events: Unheard[AttemptEvent] = Unheard()
        self._ended: set[AttemptKey] = set()
        self._followed: dict[AttemptKey, int] = {}

    def open(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        durable.make_way(self._path)
        self._path.unlink(missing_ok=True)
        with short_path(self._path) as name:
            self._socket.bind(name)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def note_end(self, key: AttemptKey) -> None:
        """The daemon hears it otherwise."""
        self._ended.add(key)

    def follow(self, attempt: Attempt, pid: int) -> None:
        """Watches for the end of a supervisor: its exit.json, or its death without one."""
        key = attempt.key
        if not self._follows or key in self._followed or key in self._ended:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._supervisor_ended(attempt)
            return
        self._followed[key] = descriptor

        def ended() -> None:
            self._unfollow(key)
            self._supervisor_ended(attempt)

        asyncio.get_running_loop().add_reader(descriptor, ended)

    def _unfollow(self, key: AttemptKey) -> None:
        """A supervisor whose trainer stays outlives the attempt."""
        descriptor = self._followed.pop(key, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def _supervisor_ended(self, attempt: Attempt) -> None:
        """It may have ended before it claimed its attempt, as on a full disk. What cannot be told now is asked
        for again by the daemon."""
        key = attempt.key
        try:
            status = attempts.status_of(attempt)
            if status is AttemptStatus.LOST:
                attempts.end_trainer(attempt)
            if status in (AttemptStatus.LOST, AttemptStatus.ENDED):
                ended = attempt.exit or attempts.lost_record(attempt)
                self.emit(Exited(key.job, key.attempt, key.nonce, ended, stays=False))
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon is to hear that it should ask
            say(f"job {key.job}, attempt {key.attempt}: {error!r}")
        self.emit(Unclear(key.job, key.attempt, key.nonce))

    def _receive(self) -> None:
        while True:
            try:
                message = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            try:
                self.emit(attempt_event_of(message))
            except ShapeError as error:  # only supervisors reach this socket; their files are the truth
                say(f"a datagram is not understood: {error}")

    def emit(self, event: AttemptEvent) -> None:
        key = AttemptKey(event.job, event.attempt, event.nonce)
        if isinstance(event, Exited):
            if key in self._ended:
                return
            self._ended.add(key)
            self._unfollow(key)
        self.events.put(event)
