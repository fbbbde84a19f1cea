"""The daemon's log tells who did what: a line for each event that the store has committed.

The lines are made from the tables of events themselves, after the commit, so that none is told that did not
happen, and whatever records an event is told of. What the store says of other people stays with the admins: this
is their log. Many events of one kind at once, as a sweep's submission, are one line.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from gpujobs.model import Reason, State
from gpujobs.store.history import DeviceLine, History, JobLine
from gpujobs.store.store import DAEMON

QUIET = frozenset({State.RUNNING, State.COMPLETING})
"""Steps between a start and an end, which are told."""

BAD_REASONS = frozenset(
    {Reason.LAUNCH_FAILED, Reason.SUPERVISOR_LOST, Reason.NODE_LOST, Reason.RESULTS_FAILED, Reason.DEVICE_MISMATCH}
)  # fmt: skip
"""Of ends for which the machine is to blame, not the job."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What is said of a job. `rest` is its own; jobs with the same `what` share a line."""

    what: str
    rest: str
    level: int = logging.INFO


class Journal:
    """`wake` after something was committed; the lines are written when the caller has come to its end, and at once
    where no event loop runs."""

    def __init__(
        self,
        history: History,
        device_name: Callable[[str], str] = str,
        names_nodes: Callable[[], bool] = lambda: False,
    ) -> None:
        """`names_nodes`: whether there are several."""
        self._history = history
        self._device_name = device_name
        self._names_nodes = names_nodes
        self._jobs, self._devices = history.newest()
        self._is_due = False
        self._is_closed = False

    def close(self) -> None:
        """Before the store is closed: what is left is written, and what was due later finds nothing to do."""
        self.write()
        self._is_closed = True

    def wake(self) -> None:
        if self._is_due or self._is_closed:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write()
        else:
            self._is_due = True
            loop.call_soon(self.write)

    def write(self) -> None:
        self._is_due = False
        if self._is_closed:
            return
        try:
            jobs, devices = self._history.jobs_after(self._jobs), self._history.devices_after(self._devices)
        except sqlite3.Error as error:
            log.warning("the history cannot be read, and is not told here until it can: %s", error)
            return
        self._jobs = jobs[-1].id if jobs else self._jobs
        self._devices = devices[-1].id if devices else self._devices
        told = job_lines(jobs, names_nodes=self._names_nodes())
        for level, text in [*told, *device_lines(devices, self._device_name)]:
            log.log(level, "%s", text)


def job_lines(events: Sequence[JobLine], *, names_nodes: bool = False) -> Iterator[tuple[int, str]]:
    """(level, line), neighbours that say the same of several jobs as one."""
    sentences = ((event, _sentence(event, names_nodes)) for event in events)
    said = [(event, sentence) for event, sentence in sentences if sentence is not None]
    for (what, level), run in groupby(said, lambda one: (one[1].what, one[1].level)):
        members = list(run)
        jobs = {event.job for event, _ in members}
        if len(jobs) == 1:
            yield from ((level, f"job {event.job} {what}{sentence.rest}") for event, sentence in members)
        else:
            yield level, f"{len(jobs)} jobs ({ranges(list(jobs))}) {what}"


def _sentence(event: JobLine, names_nodes: bool) -> _Sentence | None:
    by, why, named = _by(event), _why(event), f' "{plain(event.name)}"'
    target = event.to_state
    if event.kind == "submitted":
        held = ", held" if event.reason is Reason.HELD else ""
        return _Sentence(f"of {event.user}: submitted{by or f' by {event.user}'}{held}", named)
    if event.kind != "state" or target is None:
        return _Sentence(f"of {event.user}: {event.kind.replace('_', ' ')}{by}", f"{named}{why}")
    if target in QUIET:
        return None
    if target is State.STARTING:
        return _Sentence(f"of {event.user}: starts", f"{named}, attempt {event.attempt}{why}")
    if target is State.PENDING:
        return _Sentence(f"of {event.user}: back in the queue{by}", f"{named}{why}")
    level = logging.WARNING if event.reason in BAD_REASONS else logging.INFO
    node = f" of {plain(event.node)}" if names_nodes and event.node else ""
    where = f" on {event.device}{node}" if event.device else ""
    return _Sentence(f"of {event.user}: {target}{by}", f"{named}{where}{why}", level)


def _by(event: JobLine) -> str:
    return "" if event.actor == DAEMON else f" by {plain(event.actor)}"


def _why(event: JobLine) -> str:
    parts = [str(event.reason), plain(event.message)]
    return "".join(f": {part}" for part in parts if part)


def device_lines(events: Sequence[DeviceLine], name: Callable[[str], str] = str) -> Iterator[tuple[int, str]]:
    for event in events:
        level = logging.WARNING if event.actor == DAEMON else logging.INFO
        message = f": {plain(event.message)}" if event.message else ""
        yield level, f"device {name(event.device)}: {event.kind} by {plain(event.actor)}{message}"


def plain(text: str) -> str:
    """Nobody's name or message begins a line of its own."""
    return "".join(c if c.isprintable() else "?" for c in text.replace("\n", " "))


def ranges(numbers: Sequence[int]) -> str:
    """`5-1004, 1007`."""
    ordered = sorted(set(numbers))
    parts = []
    for _, run in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ", ".join(parts)
