"""When a training ends before its last epoch: since somebody asks for it, or since its time would not suffice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.protocol.training import Deadline, FinishSoon, Order, StopNow

WRAP_UP_SECONDS = 5.0
"""For predictions, evaluation and files, besides `WRAP_UP_EPOCHS`."""

WRAP_UP_EPOCHS = 1.5
"""So much of the longest of the latest epochs is left for them too: they pass over the data once more."""

MEASURED = 5
"""Epochs whose length counts; the first one, in which Keras traces, does only as long as it is the only one."""


class EarlyEnd:
    """Asked after each epoch."""

    def __init__(self, spec: AttemptSpec) -> None:
        resources = spec.jobfile.get("resources") or {}
        self.is_asked = spec.finish
        self.stop_reason = ""
        self.why = ""
        self._keeps_time = resources.get("at_limit") == "finish"
        self._deadline: float | None = None
        self._seconds: deque[float] = deque(maxlen=MEASURED)
        self._is_first = True

    def obey(self, orders: Iterable[Order]) -> None:
        for order in orders:
            match order:
                case Deadline():
                    self._deadline = order.at
                case FinishSoon():
                    self.is_asked = True
                case StopNow():
                    self.stop_reason = order.reason

    def is_due(self, epoch_seconds: float, now: float | None = None) -> bool:
        """Whether an epoch that took so long is to be the last."""
        self._measure(epoch_seconds)
        if self.is_asked:
            self.why = "asked for"
        elif self._keeps_time and self._deadline is not None:
            left = self._deadline - (time.monotonic() if now is None else now)
            # Most of a first epoch may be tracing: the next one, and what follows it, are no longer than it is.
            more = WRAP_UP_EPOCHS if self._is_first else 1 + WRAP_UP_EPOCHS
            if left < more * max(self._seconds) + WRAP_UP_SECONDS:
                self.why = "its time limit"
        return bool(self.why)

    def _measure(self, seconds: float) -> None:
        if len(self._seconds) == 1 and self._is_first:
            self._seconds.clear()
            self._is_first = False
        self._seconds.append(seconds)

    def figures(self, epochs: int, of: int) -> dict[str, Any]:
        """For metrics.json; nothing where the training went its whole way."""
        return {"finished": {"epochs": epochs, "of": of, "why": self.why}} if self.why else {}
