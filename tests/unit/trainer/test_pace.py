"""When a training will probably end, on a clock of the test's own."""

from __future__ import annotations

from gpujobs.trainer.pace import Pace


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_traced_first_step_does_not_count() -> None:
    """100 epochs of 10 steps of 0.1 s each, the first of which takes a minute more."""
    clock = Clock()
    pace = Pace(clock)
    assert pace.eta_seconds(0.0, 100) is None
    clock.now += 60.1
    pace.stepped(0.1)
    assert pace.eta_seconds(0.1, 100) is None, "nothing is known but the first step"
    for step in range(2, 11):
        clock.now += 0.1
        pace.stepped(step / 10)
    assert pace.eta_seconds(1.0, 100) == 99.0


def test_nor_does_the_first_of_the_validation() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.stepped(1.0)
    clock.now += 31.0
    pace.leave_out(30.0)
    assert pace.eta_seconds(2.0, 10) == 8.0


def test_it_falls_to_nothing() -> None:
    clock = Clock()
    pace = Pace(clock)
    found = []
    for epoch in range(1, 6):
        clock.now += 2.0
        pace.stepped(float(epoch))
        found.append(pace.eta_seconds(float(epoch), 5))
    assert found == [None, 6.0, 4.0, 2.0, 0.0]
