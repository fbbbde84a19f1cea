"""Timing, waiting and taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Contender = TypeVar("Contender")


def timed(function: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Polls. Raises TimeoutError naming `what` when the deadline has passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)


def alternating(contenders: Sequence[Contender], repeat: int) -> Iterator[Contender]:
    """Each of them `repeat` times, in turn; the order is reversed in every other round, so that a machine that
    slows down or warms up favours nobody."""
    for number in range(repeat):
        yield from contenders if number % 2 == 0 else reversed(contenders)
