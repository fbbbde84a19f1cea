"""How much of a training's time went into its data, by a clock of the test's own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gpujobs.trainer.use import Use


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only entry is the time."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def trained(clock: list[float], data: float, steps: float, batches: int) -> Use:
    found = Use()

    def passes(seconds: float) -> list[int]:
        clock[0] += seconds
        return [7]

    def epoch() -> str:
        for _ in range(batches):
            assert found.prepared(lambda: passes(data)) == [7]
            passes(steps)
        return "row"

    assert found.trained(epoch) == "row"
    return found


def test_the_share_of_data_is_of_the_epochs_time(clock: list[float]) -> None:
    found = trained(clock, 0.25, 0.75, 40)
    assert found.data_share == pytest.approx(0.25) and found.advice(8) is None
    assert found.lines(8) == ["Preparing batches took 25% of 40.0 s of training."]


def test_of_a_training_of_a_moment_nothing_is_said(clock: list[float]) -> None:
    found = trained(clock, 0.01, 0.01, 8)
    assert found.data_share == pytest.approx(0.5) and found.lines(8) == []


def test_a_training_that_waits_for_data_is_advised_to_take_larger_batches(clock: list[float]) -> None:
    found = trained(clock, 0.75, 0.25, 40)
    assert found.figures(8)["data_share"] == pytest.approx(0.75)
    assert "waited for data 75% of the time; batches of 32 instead of 8" in found.lines(8)[1]


def test_batches_of_the_validation_part_are_waited_for_too(clock: list[float]) -> None:
    found = Use()

    def batches() -> Iterator[int]:
        for number in range(3):
            clock[0] += 1.0
            yield number

    def epoch() -> list[int]:
        done = []
        for batch in found.each(batches()):
            clock[0] += 3.0
            done.append(batch)
        return done

    assert found.trained(epoch) == [0, 1, 2]
    assert (found.data_seconds, found.epoch_seconds) == (3.0, 12.0)


def test_the_epoch_under_way_counts(clock: list[float]) -> None:
    found = Use()

    def epoch() -> None:
        clock[0] += 3.0
        found.prepared(lambda: clock.__setitem__(0, clock[0] + 1.0))
        assert found.data_share == pytest.approx(0.25)

    for _ in range(3):
        found.trained(epoch)
    assert found.data_share == pytest.approx(0.25)


def test_no_batch_is_advised_that_is_larger_than_the_samples(clock: list[float]) -> None:
    found = trained(clock, 0.75, 0.25, 40)
    for samples, said in ((6, None), (8, None), (20, "batches of 20 instead of 8"), (1000, "batches of 32 ")):
        found._samples = samples
        assert (found.advice(8) is None) == (said is None) and (said or "") in (found.advice(8) or "")


def test_a_short_training_is_not_advised(clock: list[float]) -> None:
    assert trained(clock, 0.75, 0.25, 4).advice(8) is None


def test_nothing_is_said_where_data_took_next_to_no_time(clock: list[float]) -> None:
    assert trained(clock, 0.04, 0.96, 40).lines(8) == []


def test_nothing_is_said_of_a_training_that_had_nothing_left_to_do() -> None:
    assert Use().lines(8) == [] and Use().figures(8) == {"data_share": None, "advice": None}


def test_looking_at_the_clock_costs_next_to_nothing() -> None:
    found, began = Use(), time.perf_counter()
    for _ in range(10_000):
        found.prepared(list)
    assert time.perf_counter() - began < 0.5, "50 microseconds a step at most"
