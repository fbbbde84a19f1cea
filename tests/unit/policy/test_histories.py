"""Whole histories: whatever happens in whatever order, no device is ever booked twice."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from .box import GIB
from .world import World

HISTORIES = 10_000
BLOCKS = 10

memories = st.sampled_from([None, None, 4 * GIB, 20 * GIB, 50 * GIB, 79 * GIB, 90 * GIB])


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(3)

    @rule(
        user=st.sampled_from("abc"),
        priority=st.integers(-1, 1),
        requested_gpu=st.sampled_from([None, None, None, 0, 2, 7]),
        gpu_memory=memories,
        preemptible=st.booleans(),
        time_limit_seconds=st.sampled_from([None, 60, 3600]),
        held=st.sampled_from([False, False, False, True]),
        exclusive=st.sampled_from([False, False, True]),
    )
    def submit(self, **values: Any) -> None:
        self.world.submit(**values)
        self.world.dispatch(twice=True)

    @rule(which=st.integers(0, 9), priority=st.integers(-1, 1), held=st.booleans())
    def change(self, which: int, **values: Any) -> None:
        self.world.change(which, **values)
        self.world.dispatch(twice=True)

    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        self.world.cancel(which)

    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        self.world.end(which)
        self.world.dispatch(twice=True)

    @rule()
    def stop(self) -> None:
        self.world.stop()
        self.world.dispatch(twice=True)

    @rule(which=st.integers(0, 9), gib=st.integers(1, 60))
    def grow(self, which: int, gib: int) -> None:
        self.world.grow(which, gib * GIB)
        self.world.dispatch(twice=True)

    @rule(index=st.integers(0, 2))
    def come_and_go(self, index: int) -> None:
        self.world.come_and_go(index)
        self.world.dispatch(twice=True)

    @rule(index=st.integers(0, 2))
    def drain(self, index: int) -> None:
        self.world.drain(index)
        self.world.dispatch(twice=True)

    @rule(
        index=st.integers(0, 2),
        begin=st.sampled_from([0, 30, 3000]),
        seconds=st.sampled_from([20, 5000]),
        holder=st.sampled_from([{"user": "a"}, {"group": "vision"}]),
    )
    def reserve(self, index: int, begin: float, seconds: float, holder: dict[str, str]) -> None:
        self.world.reserve(index, begin, seconds, **holder)
        self.world.dispatch(twice=True)

    @rule(seconds=st.sampled_from([1, 59, 61, 4000]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)
        self.world.dispatch(twice=True)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40)


def history(seed: int) -> int:
    """A short random life of a small box. Returns how many jobs were started."""
    chance = random.Random(seed)
    world = World(chance.randint(1, 3))
    events = (
        lambda: submit(world, chance),
        lambda: submit(world, chance),
        lambda: world.end(chance.randrange(9)),
        lambda: world.stop(),
        lambda: world.grow(chance.randrange(9), chance.randint(1, 60) * GIB),
        lambda: world.come_and_go(chance.randrange(3)),
        lambda: world.wait(chance.choice([1, 61])),
    )
    for _ in range(7):
        chance.choice(events)()
        world.dispatch()
    return world.started


def submit(world: World, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        world.submit(
            user=chance.choice("abc"),
            priority=chance.randint(-1, 1),
            requested_gpu=chance.choice([None, None, None, 0, 1]),
            gpu_memory=chance.choice([None, 4 * GIB, 30 * GIB, 60 * GIB]),
            preemptible=chance.random() < 0.5,
            time_limit_seconds=chance.choice([None, 60]),
        )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_double_booking_in_random_histories(block: int) -> None:
    started = 0
    for seed in range(block * HISTORIES // BLOCKS, (block + 1) * HISTORIES // BLOCKS):
        try:
            started += history(seed)
        except AssertionError as error:
            raise AssertionError(f"history({seed}): {error}") from error
    assert started > HISTORIES // BLOCKS, "these histories show nothing"
