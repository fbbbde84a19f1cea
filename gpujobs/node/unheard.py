"""What an agent has to tell, kept until it is known to have been heard: an answer may be lost on its way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

E = TypeVar("E")


class Unheard(Generic[E]):
    def __init__(self) -> None:
        self._events: deque[E] = deque()
        self._heard = 0
        """How many have been, which are gone from here."""

        self._comes = asyncio.Event()

    def put(self, event: E) -> None:
        self._events.append(event)
        self._comes.set()

    async def after(self, heard: int) -> tuple[int, list[E]]:
        """Waits for at least one event after the first `heard` ones, which are forgotten; returns all there are, and
        how many that is with those before. Asked again with the same number, it says the same again."""
        while self._heard < heard and self._events:
            self._events.popleft()
            self._heard += 1
        while not self._events:
            self._comes.clear()
            await self._comes.wait()
        return self._heard + len(self._events), list(self._events)
