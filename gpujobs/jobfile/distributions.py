"""The distributions of a random sweep: what each is given, and what it draws.

A value follows from the sweep's seed, the field's key and the number of the draw alone, so that a larger count
or one more field leaves the other values as they are. Only `random.Random.random` is used: its sequence is
what Python promises to keep from version to version ("Notes on Reproducibility" of the module `random`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from gpujobs.jobfile.keras_names import nearest
from gpujobs.jobfile.reader import describe

Draw = Callable[[float], Any]
"""From a share, evenly distributed in [0, 1), to a value."""

MAX_WHOLE = 1 << 53
"""Above, floating point cannot reach every whole number."""

DIGITS = 12
"""Of a number that is drawn: C libraries differ in the last bits of exp, and that must not make another job."""


class DistributionError(ValueError):
    """What is wrong with a distribution; the message does not name the field that it is for."""


def uniform(given: Any) -> Draw:
    """Any number between two, each as likely."""
    low, high = _numbers(given)
    return lambda share: _within(low, low * (1 - share) + high * share, high)


def log_uniform(given: Any) -> Draw:
    """Any number between two, each order of magnitude as likely."""
    low, high = _numbers(given)
    if low <= 0:
        raise DistributionError(f"starts at {low:g}; expected a number above 0")
    first, last = math.log(low), math.log(high)
    return lambda share: _within(low, math.exp(first * (1 - share) + last * share), high)


def integers(given: Any) -> Draw:
    """A whole number from the first to the second, both possible, each as likely."""
    low, high = _whole_numbers(given)
    return lambda share: min(high, low + int(share * (high - low + 1)))


def log_integers(given: Any) -> Draw:
    """A whole number from the first to the second, both possible, each order of magnitude as likely."""
    low, high = _whole_numbers(given)
    if low < 1:
        raise DistributionError(f"starts at {low}; expected a whole number of at least 1")
    draw = log_uniform([low, high + 1])
    return lambda share: min(high, int(draw(share)))


def choice(given: Any) -> Draw:
    """One of the values, each as likely."""
    if not isinstance(given, list) or not given:
        raise DistributionError(f"is {describe(given)}; expected a list of values")
    return lambda share: given[int(share * len(given))]


DISTRIBUTIONS: dict[str, Callable[[Any], Draw]] = {
    "uniform": uniform,
    "log_uniform": log_uniform,
    "integers": integers,
    "log_integers": log_integers,
    "choice": choice,
}


def distribution(given: Any) -> Draw:
    """Of a mapping such as {log_uniform: [0.0001, 0.1]}. Raises DistributionError."""
    if not isinstance(given, dict) or len(given) != 1:
        found = f"a mapping of {len(given)} keys" if isinstance(given, dict) else describe(given)
        raise DistributionError(f"found {found}; expected one distribution, such as {{uniform: [0.0, 0.5]}}")
    ((name, arguments),) = given.items()
    if name not in DISTRIBUTIONS:
        hint = nearest(name, DISTRIBUTIONS) or f"; expected one of {', '.join(DISTRIBUTIONS)}"
        raise DistributionError(f"{name} is not a distribution{hint}")
    try:
        return DISTRIBUTIONS[name](arguments)
    except DistributionError as error:
        raise DistributionError(f"{name} {error}") from None


def shares(seed: int, key: str) -> Iterator[float]:
    """The endless sequence of a field's draws."""
    generator = random.Random(f"{seed} {key}")
    while True:
        yield generator.random()


def _within(low: float, value: float, high: float) -> float:
    """The value with so many digits; rounding may not carry it over its bounds."""
    return min(max(low, float(f"{value:.{DIGITS}g}")), high)


def _numbers(given: Any) -> tuple[float, float]:
    low, high = _pair(given, (int, float), "two numbers, the lower first, such as [0.1, 0.5]")
    try:
        return float(low), float(high)
    except OverflowError:  # TOML has whole numbers of any length
        raise DistributionError("has a number beyond 1e308; expected smaller ones") from None


def _whole_numbers(given: Any) -> tuple[int, int]:
    low, high = _pair(given, (int,), "two whole numbers, the lower first, such as [8, 64]")
    if max(abs(low), abs(high)) > MAX_WHOLE:
        raise DistributionError(f"has a number beyond {MAX_WHOLE}; expected smaller ones")
    return low, high


def _pair(given: Any, kinds: tuple[type, ...], expected: str) -> Any:
    if not isinstance(given, list):
        raise DistributionError(f"is {describe(given)}; expected {expected}")
    if len(given) != 2:
        raise DistributionError(f"has {len(given)} entries; expected {expected}")
    for one in given:
        if not isinstance(one, kinds) or isinstance(one, bool):
            raise DistributionError(f"has {describe(one)}; expected {expected}")
    if not given[0] < given[1]:
        raise DistributionError(f"goes from {given[0]} to {given[1]}; expected {expected}")
    return given
