"""A lease ends on its box no later than the daemon believes it to, however long each word is on its way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.daemon.devices.leases import SLACK_SECONDS, Leases
from gpujobs.errors import MachineError
from gpujobs.protocol.boxes import Alive, Renew

LEASE = 60.0


class Box:
    """Another box, whose clock has begun at another time, on a line that delays each word, and loses answers."""

    def __init__(self, boot: float) -> None:
        self.time, self.boot, self.until = 0.0, boot, 0.0
        self.there = self.back = 0.0
        self.loses_answer = False
        self.late: list[Renew] = []

    def clock(self) -> float:
        return self.time

    def hear(self, asked: Renew) -> None:
        if asked.until is not None and asked.boot_id == "boot":
            self.until = max(self.until, asked.until - self.boot)

    async def call(self, node: str, asked: Renew) -> Alive:
        self.late.append(asked)  # a word that was lost may come at any later time
        self.time += self.there
        self.hear(asked)
        answer = Alive("boot", self.boot + self.time)
        self.time += self.back
        if self.loses_answer:
            raise MachineError("nothing was heard")
        return answer


DELAYS = st.floats(0, 200)
ROUNDS = st.lists(st.tuples(DELAYS, DELAYS, st.booleans(), st.booleans(), DELAYS), max_size=12)


@given(boot=st.floats(0, 1e6), rounds=ROUNDS)
def test_nothing_runs_there_when_the_daemon_believes_so(boot: float, rounds: list[Any]) -> None:
    box = Box(boot)
    link: Any = box
    leases = Leases(link, LEASE, box.clock)
    for there, back, loses, repeats, pause in rounds:
        box.there, box.back, box.loses_answer = there, back, loses
        with contextlib.suppress(MachineError):
            asyncio.run(leases.renew("box2"))
        box.time += pause
        if repeats and box.late:
            box.hear(box.late[0])
        if leases.left("box2") <= 0:
            assert box.until <= box.time + 1e-6


def test_a_box_that_answers_keeps_its_lease() -> None:
    box = Box(1000.0)
    link: Any = box
    leases = Leases(link, LEASE, box.clock)
    for _ in range(30):
        asyncio.run(leases.renew("box2"))
        box.time += 5.0
    assert box.until > box.time
    assert leases.left("box2") == pytest.approx(LEASE + SLACK_SECONDS - 10.0)


def test_a_box_that_does_not_answer_loses_its_lease_however_often_it_is_asked() -> None:
    box = Box(1000.0)
    link: Any = box
    leases = Leases(link, LEASE, box.clock)
    for _ in range(3):
        asyncio.run(leases.renew("box2"))
    box.loses_answer = True
    for _ in range(30):
        with pytest.raises(MachineError):
            asyncio.run(leases.renew("box2"))
        box.time += 5.0
    assert leases.left("box2") <= 0
    assert box.until <= box.time


def test_after_a_start_of_the_daemon_a_lease_is_assumed() -> None:
    box = Box(0.0)
    link: Any = box
    leases = Leases(link, LEASE, box.clock)
    leases.assume("box2")
    assert leases.left("box2") == LEASE + SLACK_SECONDS
    box.time = LEASE + SLACK_SECONDS
    assert leases.left("box2") == 0
