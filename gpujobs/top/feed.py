"""What the daemon tells, read in threads, and handed on as messages. Threads are daemons: nobody waits for a
daemon that hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.client.api import Stream
from gpujobs.errors import DaemonUnreachableError, GpujobsError, UsageError
from gpujobs.view import now as view

ROWS = 500
"""Of the queue that are asked for; how many more there are is said."""

AGAIN_SECONDS = 1.0
"""Until a daemon that has gone is tried again."""


@dataclass(frozen=True, slots=True)
class Seen:
    now: view.Now


@dataclass(frozen=True, slots=True)
class Lost:
    """`is_refused`: the daemon is there, and does not like the question."""

    why: str
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of the log of an attempt; `is_end`: nothing more comes, because of `why` if that is said."""

    of: tuple[int, int]
    piece: bytes = b""
    is_end: bool = False
    why: str = ""


Tell = Callable[[Any], object]


@dataclass
class Reader:
    """A thread that reads streams until it is told to stop. `stopped` is looked at before anything is told."""

    socket: Path
    tell: Tell
    _stopped: threading.Event = field(default_factory=threading.Event)
    _stream: Stream | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        threading.Thread(target=self.run, daemon=True).start()

    def stop(self) -> None:
        with self._lock:
            self._stopped.set()
            if self._stream is not None:
                self._stream.stop()

    def run(self) -> None:
        raise NotImplementedError

    def say(self, what: object) -> None:
        if not self._stopped.is_set():
            self.tell(what)

    def reads(self, stream: Stream) -> bool:
        """Whether it may: from then on, `stop` ends it."""
        with self._lock:
            self._stream = stream
            return not self._stopped.is_set()


@dataclass
class Feed(Reader):
    """The picture of one question, as long as it is wanted, whatever becomes of the daemon."""

    query: Mapping[str, object] = field(default_factory=dict)

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(connect([self.socket])) as client:
                    self._read(client)
            except UsageError as error:
                self.say(Lost(error.message, is_refused=True))
                return
            except DaemonUnreachableError:
                self.say(Lost("the daemon does not answer; trying again"))
            except (GpujobsError, OSError, ValueError) as error:  # the last: of a line that was cut off
                self.say(Lost(f"{error}; trying again"))
            self._stopped.wait(AGAIN_SECONDS)

    def _read(self, client: Client) -> None:
        seen = view.Now()
        asked: dict[str, Any] = {
            "changes": True,
            "devices": True,
            "lately": True,
            "limit": ROWS,
            **self.query,
        }
        with client.open("/v1/queue/watch", **asked) as pieces:
            if not self.reads(pieces):
                return
            for piece in pieces:
                seen = after(seen, json.loads(piece))
                self.say(Seen(seen))
        self.say(Lost("the daemon has ended; waiting for it to come back"))


def after(seen: view.Now, piece: Mapping[str, Any]) -> view.Now:
    """The first piece has all, the others what is new."""
    if "rows" in piece:
        return view.now_from_json(piece)
    return view.applied(seen, view.difference_from_json(piece))


@dataclass
class LogFeed(Reader):
    """The last lines of an attempt's log, then what is added."""

    of: tuple[int, int] = (0, 0)
    tail: int = 0

    def run(self) -> None:
        job, attempt = self.of
        try:
            with closing(connect([self.socket])) as client:
                asked: dict[str, Any] = {"follow": True, "tail": self.tail, "attempt": attempt or None}
                with client.open(f"/v1/jobs/{job}/log", **asked) as log:
                    if not self.reads(log):
                        return
                    while piece := log.read1():
                        self.say(Written(self.of, piece))
        except (GpujobsError, OSError) as error:
            self.say(Written(self.of, is_end=True, why=str(error)))
        else:
            self.say(Written(self.of, is_end=True))
