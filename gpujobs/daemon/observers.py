"""Who wants to hear of something: named when all parts are there, so that none is made with a callback into another
that is not there yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Observers(Generic[P]):
    """They are told in the order in which they were added. What one raises, the teller gets."""

    def __init__(self) -> None:
        self._observers: list[Callable[P, object]] = []

    def add(self, *observers: Callable[P, object]) -> None:
        self._observers += observers

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for observer in self._observers:
            observer(*args, **kwargs)
