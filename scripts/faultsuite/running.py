"""Cases run in boxes, some at once. A box serves one case after the other until one fails in it."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from .box import Box, Failure
from .case import Case, NotReachedError, finish

SLOW_AT_ONCE = 4
"""So many times as many boxes for cases that mostly wait."""

CASES_OF_A_BOX = 25
"""Its history is read whole after each case."""


@dataclass(frozen=True)
class Outcome:
    """`kind`: lost, doubled, wrong; "not reached", "not run"; empty where all is well."""

    case: Case
    kind: str
    message: str
    seconds: float


class Runner:
    def __init__(
        self, tree: Path, boxes: int, minutes: float | None = None, *, is_quiet: bool = False
    ) -> None:
        self._tree, self._boxes, self._is_quiet = tree, boxes, is_quiet
        self._end = time.monotonic() + minutes * 60 if minutes else float("inf")
        self._outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self._open: set[Box] = set()
        """Whose processes an interruption must end."""

    def run(self, cases: list[Case]) -> list[Outcome]:
        small = [case for case in cases if case.is_small]
        self._all([case for case in small if case.is_slow], self._boxes * SLOW_AT_ONCE)
        self._all([case for case in small if not case.is_slow], self._boxes)
        self._all([case for case in cases if not case.is_small], 1)
        return self._outcomes

    def _all(self, cases: list[Case], boxes: int) -> None:
        waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
        for case in cases:
            waiting.put(case)
        threads = [
            threading.Thread(target=self._work, args=(waiting,)) for _ in range(min(boxes, len(cases)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, waiting: queue.SimpleQueue[Case]) -> None:
        box: Box | None = None
        used = 0
        try:
            while True:
                case = waiting.get_nowait()
                if time.monotonic() > self._end:
                    self._put(Outcome(case, "not run", "out of time", 0.0))
                    continue
                if box is not None and (
                    case.is_fresh or box.is_small != case.is_small or used >= CASES_OF_A_BOX
                ):
                    self._close(box)
                    box = None
                if box is None:
                    box, used = Box(self._tree, is_small=case.is_small), 0
                    self._open.add(box)
                outcome = attempt(case, box)
                used += 1
                self._put(outcome)
                if outcome.kind or case.is_fresh:
                    self._close(box)
                    box = None
        except queue.Empty:
            return
        finally:
            if box is not None:
                self._close(box)

    def _close(self, box: Box) -> None:
        box.close()
        self._open.discard(box)

    def _put(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes.append(outcome)
            if not self._is_quiet and outcome.kind != "not run":
                said = f"  {outcome.message}" if outcome.kind else ""
                print(
                    f"{outcome.kind or 'ok':12}{outcome.seconds:6.1f} s  {outcome.case.title}{said}",
                    flush=True,
                )


def attempt(case: Case, box: Box) -> Outcome:
    """A case in a box. What goes wrong in it is what it says."""
    began = time.monotonic()
    kind = message = ""
    try:
        if box.daemon is None:
            box.start()
        case.run(box)
        finish(case, box)
    except Failure as failure:
        kind, message = failure.kind, str(failure)
    except NotReachedError as error:
        kind, message = "not reached", str(error)
    except Exception as error:  # noqa: BLE001 - a case that cannot be run is no success
        traceback.print_exc(file=sys.stderr)
        kind, message = "wrong", f"the case itself: {error!r}"
    return Outcome(case, kind, message, time.monotonic() - began)
