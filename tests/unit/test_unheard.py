"""What an agent tells is told again until it was heard, in its order, and once where nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from gpujobs.node.unheard import Unheard

T = TypeVar("T")


def quickly(work: Coroutine[Any, Any, T]) -> T:
    async def run() -> T:
        return await asyncio.wait_for(work, 5)

    return asyncio.run(run())


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_whatever_answers_are_lost_each_event_is_heard_once_and_in_order(
    steps: list[tuple[int, bool]],
) -> None:
    async def run() -> list[int]:
        events: Unheard[int] = Unheard()
        told, count = 0, 0
        heard: list[int] = []
        for new, is_lost in [*steps, (1, False)]:
            for _ in range(new):
                events.put(told)
                told += 1
            if told > count:
                number, answer = await events.after(count)
                if not is_lost:
                    heard, count = heard + answer, number
        assert count == told == len(heard)
        return heard

    heard = quickly(run())
    assert heard == list(range(len(heard)))


def test_who_asks_while_there_is_nothing_is_told_when_something_comes_and_takes_it_from_nobody() -> None:
    """The first question was cut off: its answer goes nowhere."""

    async def run() -> list[list[str]]:
        events: Unheard[str] = Unheard()
        asking = [asyncio.create_task(events.after(0)) for _ in range(2)]
        await asyncio.sleep(0)
        events.put("it has ended")
        return [(await one)[1] for one in asking]

    assert quickly(run()) == [["it has ended"], ["it has ended"]]
