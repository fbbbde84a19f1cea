"""How long the trainers of another box may go on though nobody here hears of them.

The box names an instant of its own clock in each answer; the next question grants a lease from that instant on, which
is past by then. So, however long a word is on its way, and whatever the clocks say, a lease has ended there when it
has ended here: only then may a job be started elsewhere. Nothing of it is kept: after a start of the daemon the boxes
are assumed to have been granted one just before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gpujobs.cluster.link import ClusterLink
from gpujobs.protocol.boxes import Alive, Renew

SLACK_SECONDS = 5.0
"""Clocks do not run equally fast: by far less than this in any lease."""


BEAT_SECONDS, BEATS = 5.0, 12
"""Between two words to a box, and at least so many within a lease. One grants from what the one before has named, so
that just before the next two of these pauses are gone, and a stop takes its grace and a margin off the rest."""


class Leases:
    def __init__(
        self, link: ClusterLink, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._link = link
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, float] = {}
        self._named: dict[str, tuple[Alive, float]] = {}
        """The instants that the boxes have named last, and when that was heard: by then they were past."""
        self._granted: dict[str, Alive] = {}
        """Until when, by their clocks."""

    @property
    def beat_seconds(self) -> float:
        return min(BEAT_SECONDS, self._seconds / BEATS)

    def assume(self, node: str) -> None:
        """What may have been granted by somebody before us."""
        self._until[node] = self._clock() + self._seconds

    async def renew(self, node: str) -> None:
        """Raises what the call raises: then it may have been granted all the same."""
        named, heard = self._named.get(node, (None, 0.0))
        if named is not None:
            self._until[node] = max(self._until.get(node, 0.0), heard + self._seconds)
            self._granted[node] = Alive(named.boot_id, named.at + self._seconds)
        until = None if named is None else named.at + self._seconds
        asked = Renew("" if named is None else named.boot_id, until)
        answer = await self._link.call(node, asked)
        self._named[node] = (answer, self._clock())

    def granted(self, node: str) -> Alive | None:
        """By the box's own clock: what reaches it later is void."""
        return self._granted.get(node)

    def left(self, node: str) -> float:
        """Seconds until nothing of ours runs there any more; at most 0 where that is so."""
        until = self._until.get(node)
        return 0.0 if until is None else until + SLACK_SECONDS - self._clock()
