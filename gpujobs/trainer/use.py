"""What a training made of its time: how much of it went into preparing batches, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

LITTLE = 0.05
"""Of the time: below it nothing is said."""

MUCH = 0.3
"""Of the time: from there on something is said about it."""

SOON_SECONDS = 10.0
"""A training that is over sooner needs no advice."""

Done = TypeVar("Done")


class Use:
    """Seconds of the epochs, and of them those in which batches were made from the data, while no new step could
    begin. Two looks at the clock for each step."""

    def __init__(self) -> None:
        self.epoch_seconds = self.data_seconds = 0.0

    def prepared(self, batches: Callable[[], Done]) -> Done:
        began = time.monotonic()
        made = batches()
        self.data_seconds += time.monotonic() - began
        return made

    def trained(self, epoch: Callable[[], Done]) -> Done:
        began = time.monotonic()
        done = epoch()
        self.epoch_seconds += time.monotonic() - began
        return done

    @property
    def data_share(self) -> float | None:
        """0 to 1; None where nothing was trained."""
        return self.data_seconds / self.epoch_seconds if self.epoch_seconds > 0 else None

    def figures(self, batch_size: int) -> dict[str, Any]:
        """For metrics.json."""
        return {"data_share": self.data_share, "advice": self.advice(batch_size)}

    def lines(self, batch_size: int) -> list[str]:
        """For the log."""
        if self.data_share is None or self.data_share < LITTLE:
            return []
        said = f"Preparing batches took {self.data_share:.0%} of {self.epoch_seconds:.1f} s of training."
        advice = self.advice(batch_size)
        return [said] if advice is None else [said, f"Advice: {advice}"]

    def advice(self, batch_size: int) -> str | None:
        share = self.data_share
        if share is None or share < MUCH or self.epoch_seconds < SOON_SECONDS:
            return None
        return (
            f"the device waited for data {share:.0%} of the time; batches of {4 * batch_size} instead of {batch_size} "
            "are prepared less often (training.batch_size)"
        )
