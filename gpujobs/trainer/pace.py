"""How long a training will still take: by its epochs so far, without what is done once only."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """The first step is traced, which takes as long as a thousand others, and so is the first of a validation: they
    say nothing about those that follow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._from = 0.0
        self._left_out = 0.0

    def stepped(self, done: float) -> None:
        """A step has ended. `done`: epochs so far, with the fraction of the one under way."""
        if self._since is None:
            self._since, self._from = self._clock(), done

    def leave_out(self, seconds: float) -> None:
        self._left_out += seconds

    def eta_seconds(self, done: float, epochs: int) -> float | None:
        """Seconds until all epochs are done; None while nothing is known but the first step."""
        if self._since is None or done <= self._from:
            return None
        taken = self._clock() - self._since - self._left_out
        return round(max(taken, 0.0) / (done - self._from) * (epochs - done), 1)
