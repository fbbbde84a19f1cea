"""Does a test notice? A test that fails counts only if it fails again with the fault, and passes without."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mutation.copies import TEST_SECONDS, Copy, Outcome
from mutation.operators import Mutant
from mutation.parts import files_of
from mutation.ran import Known, RecordedTest, in_order

AGAIN_SECONDS = 240.0
"""For one test by itself; under load, many times as long as it takes."""

LOADED = 5.0
"""So many times as long as recorded may tests take, on a busy machine and with a fault, before they hang."""

BESIDE_SECONDS = 30.0
"""For what is not of the tests: to collect them, and to start what a session shares."""


@dataclass(slots=True)
class Sound:
    """Which tests pass without a fault, asked once each in a copy of their own: as recorded is not enough, as a busy
    machine fails some that passed when it was quiet."""

    copy: Copy
    asked: dict[str, bool] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, test: str) -> bool:
        with self.lock:
            if test not in self.asked:
                self.asked[test] = self.copy.test([test], AGAIN_SECONDS).failed is None
            return self.asked[test]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`noticed_by`: None where no test does. `coming`: how many tests run the faulty statement. `is_finished`: whether
    all that may notice were tried, before the time was up."""

    noticed_by: str | None
    coming: int
    is_finished: bool = True


class TimeIsUpError(Exception):
    """Tests took too long, and none of them hangs."""


def judge(
    copy: Copy, sound: Sound, known: Known, mutant: Mutant, limit_seconds: float, *, rest: bool
) -> Verdict:
    """Tests that run the faulty statement first: of the files that are recorded, then of one after the other of those
    that are not yet. Then, as tests of a file may share what one of them has made, the others of their files; with
    `rest`, then all others of the part."""
    tried: set[str] = set()
    with copy.planted(mutant):
        for tests in _in_turn(known, mutant, tried, rest=rest):
            try:
                found = _first(copy, sound, in_order(tests), limit_seconds)
            except TimeIsUpError:
                return Verdict(None, len(tried), is_finished=False)
            if found is not None:
                return Verdict(found, len(tried))
    return Verdict(None, len(known.coming_to(mutant)))


def _in_turn(
    known: Known, mutant: Mutant, tried: set[str], *, rest: bool
) -> Iterator[Sequence[RecordedTest]]:
    """`tried` gets the names of the tests that come to the fault and were given."""
    while True:
        coming = [test for test in known.coming_to(mutant) if test.name not in tried]
        tried.update(test.name for test in coming)
        if coming:
            yield coming
        if not known.learn(mutant.module):
            break
    files = {name.partition("::")[0] for name in tried}
    yield [test for test in known.tests if test.file in files and test.name not in tried]
    of_part = set(files_of(known.root, mutant.module))
    yield [test for test in known.tests if test.file in of_part - files] if rest else []


def _first(copy: Copy, sound: Sound, tests: Sequence[RecordedTest], limit_seconds: float) -> str | None:
    left = [test for test in tests if test.passed]
    while left:
        each = min(TEST_SECONDS, BESIDE_SECONDS + LOADED * max(test.seconds for test in left))
        whole = min(limit_seconds, BESIDE_SECONDS + LOADED * sum(test.seconds for test in left))
        outcome = copy.test([test.name for test in left], max(each, whole), each=each)
        if outcome.failed is None:
            return None
        if outcome.hung:  # a test has its own time: either they do not even begin, or the machine is busy
            if copy.test([left[0].name], AGAIN_SECONDS, each=each).failed is None:
                raise TimeIsUpError
            return outcome.failed
        if _counts(copy, sound, outcome):
            return outcome.failed
        names = [test.name for test in left]
        if outcome.failed not in names:  # pytest itself did not start: nothing to learn from these
            return outcome.failed
        left = left[names.index(outcome.failed) + 1 :]
    return None


def _counts(copy: Copy, sound: Sound, outcome: Outcome) -> bool:
    test = outcome.failed or ""
    if "::" not in test and not test.endswith(".py"):
        return True
    return copy.test([test], AGAIN_SECONDS).failed is not None and sound(test)
