"""The job that is looked at: its log and its learning curve, read while it is selected."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpujobs.printing import printable
from gpujobs.results.curves import JobHistory
from gpujobs.top import asking
from gpujobs.top.curve import Live
from gpujobs.top.feed import LogFeed, Written
from gpujobs.top.log import KEPT_LINES, Lines
from gpujobs.view.now import Row

HISTORY_SECONDS = 5.0
"""Between two readings of a history that grows; what is new meanwhile comes with the queue."""


class Detail:
    """`tell` hands on what a thread has read."""

    def __init__(self, socket: Path, asker: asking.Asker, tell: Callable[[object], object]) -> None:
        self._socket, self._asker, self._tell = socket, asker, tell
        self._feed: LogFeed | None = None
        self._read_at = 0.0
        self.row: Row | None = None
        self.lines = Lines()
        self.why = ""
        self.live = Live(0)

    @property
    def job(self) -> dict[str, Any] | None:
        return None if self.row is None else self.row.shown.get("job")

    def look(self, row: Row | None) -> None:
        """At another job, another attempt of it, or what is new of it."""
        self.row = row
        job = self.job
        wanted = (0, 0) if job is None else (job["id"], job["attempt"])
        if job is None or job["id"] != self.live.job:
            self.live = Live(wanted[0])
            self._read_at = 0.0
        if self._feed is None or self._feed.of != wanted:
            self._follow(wanted)
        if job is not None and (self.live.add(job.get("progress")) or not self._read_at):
            self._read_history(job)

    def again(self) -> None:
        """The daemon is back."""
        if self._feed is not None:
            self._follow(self._feed.of)

    def stop(self) -> None:
        if self._feed is not None:
            self._feed.stop()

    def written(self, what: Written) -> None:
        if self._feed is None or what.of != self._feed.of:
            return
        self.lines.add(what.piece)
        if what.is_end:
            self.why = printable(what.why)

    def history(self, found: JobHistory | None) -> None:
        if found is not None and found.id == self.live.job:
            self.live.history = found

    def _follow(self, wanted: tuple[int, int]) -> None:
        self.stop()
        self.lines, self.why = Lines(), ""
        self._feed = LogFeed(self._socket, self._tell, of=wanted, tail=KEPT_LINES)
        if wanted[0]:
            self._feed.start()

    def _read_history(self, job: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._read_at < HISTORY_SECONDS or not job["attempt"]:
            return
        self._read_at = now
        self._asker(lambda client: asking.history(client, job["id"]), self._tell)
