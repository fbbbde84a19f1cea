"""What a training made of its time: how much of it went into preparing batches, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from gpujobs.measured.advice import of_data

LITTLE, LITTLE_SECONDS = 0.05, 1.0
"""Of the time, and of a training: below it nothing is said."""

Done = TypeVar("Done")


class Use:
    """Seconds of the epochs, and of them those in which batches were made from the data, for training or validation,
    while no new step could begin. Two looks at the clock for each step. `samples`: of the training part."""

    def __init__(self, samples: int | None = None) -> None:
        self.data_seconds = 0.0
        self._samples = samples
        self._whole_seconds = 0.0
        self._began: float | None = None

    def prepared(self, batches: Callable[[], Done]) -> Done:
        began = time.monotonic()
        made = batches()
        self.data_seconds += time.monotonic() - began
        return made

    def each(self, batches: Iterable[Done]) -> Iterator[Done]:
        """One after the other, as they are wanted."""
        coming, nothing = iter(batches), object()
        while (batch := self.prepared(lambda: next(coming, nothing))) is not nothing:
            yield batch  # type: ignore[misc]

    def trained(self, epoch: Callable[[], Done]) -> Done:
        self._began = time.monotonic()
        done = epoch()
        self._whole_seconds, self._began = self.epoch_seconds, None
        return done

    @property
    def epoch_seconds(self) -> float:
        """With those of the epoch under way."""
        return self._whole_seconds + (0.0 if self._began is None else time.monotonic() - self._began)

    @property
    def data_share(self) -> float | None:
        """0 to 1; None where nothing was trained."""
        seconds = self.epoch_seconds
        return min(1.0, self.data_seconds / seconds) if seconds > 0 else None

    def figures(self, batch_size: int) -> dict[str, Any]:
        """For metrics.json."""
        return {"data_share": self.data_share, "advice": self.advice(batch_size)}

    def lines(self, batch_size: int) -> list[str]:
        """For the log."""
        if self.data_share is None or self.data_share < LITTLE or self.epoch_seconds < LITTLE_SECONDS:
            return []
        said = f"Preparing batches took {self.data_share:.0%} of {self.epoch_seconds:.1f} s of training."
        advice = self.advice(batch_size)
        return [said] if advice is None else [said, f"Advice: {advice}"]

    def advice(self, batch_size: int) -> str | None:
        return of_data(self.data_share, self.epoch_seconds, batch_size, self._samples)
