"""How often a box is asked, which renews its lease. No box is there: time passes as the answers say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from gpujobs.daemon.devices.contact import Contact
from gpujobs.daemon.devices.leases import Leases
from gpujobs.daemon.tasks import Tasks
from gpujobs.protocol.boxes import Alive, Renew


class Clock(asyncio.SelectorEventLoop):
    """A loop in which nothing is waited for: the only one who sleeps wakes at once, later."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def call_at(  # type: ignore[override]  # its own is generic
        self, when: float, callback: Any, *arguments: Any, context: Any = None
    ) -> Any:
        def run() -> None:
            self.now = max(self.now, when)
            callback(*arguments)

        return self.call_soon(run, context=context)


def asked(lease: float, answers: Sequence[float]) -> list[tuple[float, float | None]]:
    """When a box is asked that takes so long for each answer, and from which instant on it is granted a lease."""
    loop, told, over = Clock(), list[tuple[float, float | None]](), asyncio.Event()
    left = iter(answers)

    async def call(node: str, question: Renew) -> Alive:
        told.append((loop.now, None if question.until is None else question.until - lease))
        seconds = next(left, None)
        if seconds is None:
            over.set()
            await asyncio.Event().wait()
        await asyncio.sleep(seconds or 0.0)
        return Alive("boot", loop.now)

    async def run() -> None:
        link: Any = SimpleNamespace(call=call)
        contact = Contact(
            Leases(link, lease, loop.time),
            Tasks(),
            on_away=lambda *_: None,
            on_back=lambda _: None,
            on_lost=lambda _: None,
        )
        await contact.greet("box2")
        contact.keep("box2")
        await over.wait()
        contact.close()

    loop.run_until_complete(run())
    loop.close()
    return told


@pytest.mark.parametrize(("lease", "beat"), [(600.0, 5.0), (60.0, 5.0), (30.0, 2.5)])
def test_a_short_lease_is_renewed_more_often(lease: float, beat: float) -> None:
    expected = [(0.0, None), (0.0, 0.0), *((beat * n, beat * (n - 1)) for n in (1, 2, 3))]
    assert asked(lease, [0, 0, 0, 0]) == expected


def test_after_an_answer_that_was_long_on_its_way_the_lease_is_renewed_at_once() -> None:
    """A cut of 3 s and what TCP needs after it: the lease that was granted then is as old as the question before."""
    assert asked(30.0, [0, 0, 0, 6.0, 0])[3:] == [(5.0, 2.5), (11.0, 11.0), (13.5, 11.0)]
