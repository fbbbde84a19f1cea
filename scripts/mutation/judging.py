"""Does a test notice? A test that fails counts only if it fails again with the fault, and passes without."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from mutation.copies import Copy, Outcome
from mutation.operators import Mutant
from mutation.parts import stages

AGAIN_SECONDS = 240.0
"""For one test file by itself; under load, twice as long as it takes."""


@dataclass(slots=True)
class Sound:
    """Which tests pass without a fault, asked once each in a copy of their own."""

    copy: Copy
    known: dict[str, bool] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, test: str) -> bool:
        with self.lock:
            if test not in self.known:
                self.known[test] = self.copy.test([test], AGAIN_SECONDS).failed is None
            return self.known[test]


def noticed_by(copy: Copy, sound: Sound, mutant: Mutant, limit_seconds: float) -> str | None:
    """The test that notices, or None."""
    with copy.planted(mutant):
        for tests in stages(copy.directory, mutant.module):
            found = _first(copy, sound, tests, limit_seconds)
            if found is not None:
                return found
    return None


def _first(copy: Copy, sound: Sound, tests: Sequence[str], limit_seconds: float) -> str | None:
    left = list(tests)
    unsound: list[str] = []
    while left:
        outcome = copy.test([*left, *(f"--deselect={test}" for test in unsound)], limit_seconds)
        if outcome.failed is None:
            return None
        if outcome.hung:
            return outcome.failed
        if _counts(copy, sound, outcome):
            return outcome.failed
        unsound.append(outcome.failed)
        file = outcome.failed.partition("::")[0]
        if file not in left:  # pytest itself did not start: nothing to learn from these files
            return outcome.failed
        left = left[left.index(file) :]
    return None


def _counts(copy: Copy, sound: Sound, outcome: Outcome) -> bool:
    test = outcome.failed or ""
    if "::" not in test and not test.endswith(".py"):
        return True
    return copy.test([test], AGAIN_SECONDS).failed is not None and sound(test)
