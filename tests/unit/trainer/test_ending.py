"""When a training ends before its last epoch. Instants are seconds of a clock of the test's own."""

from __future__ import annotations

import pytest

from gpujobs.protocol.training import Deadline, FinishSoon
from gpujobs.trainer.ending import EarlyEnd
from tests.specs import attempt_spec


def early_end(at_limit: str = "finish", **more: bool) -> EarlyEnd:
    return EarlyEnd(attempt_spec(jobfile={"resources": {"at_limit": at_limit}}, **more))


def epochs_until_the_end(one: EarlyEnd, seconds: list[float]) -> tuple[int, float]:
    """How many epochs are trained, and when the last of them ends."""
    now = 0.0
    for number, length in enumerate(seconds, 1):
        now += length
        if one.is_due(length, now):
            return number, now
    return len(seconds), now


@pytest.mark.parametrize("length", [0.01, 1.0, 7.0, 20.0])
def test_what_is_left_suffices_for_the_end(length: float) -> None:
    one = early_end()
    one.obey([Deadline(100.0)])
    _, ended = epochs_until_the_end(one, [length] * 100_000)
    assert 1.5 * length + 5 <= 100 - ended + 1e-6, "for predictions and files"
    assert ended + 3.5 * length + 5 >= 100, "and no more than that is given away"
    assert one.figures(3, 9) == {"finished": {"epochs": 3, "of": 9, "why": "its time limit"}}


def test_the_first_epoch_traces_and_measures_nothing_once_there_is_another() -> None:
    one = early_end()
    one.obey([Deadline(100.0)])
    assert epochs_until_the_end(one, [30.0] + [1.0] * 1000)[1] == 93.0


def test_another_limit_counts_from_then_on() -> None:
    one = early_end()
    one.obey([Deadline(10.0)])
    one.obey([Deadline(1000.0)])
    assert not one.is_due(1.0, 50.0)
    one.obey([Deadline(None)])
    assert not one.is_due(1.0, 5000.0)


def test_without_at_limit_only_who_asks_ends_it() -> None:
    one = early_end("stop")
    one.obey([Deadline(10.0)])
    assert not one.is_due(1.0, 9.9)
    assert one.figures(1, 2) == {}
    one.obey([FinishSoon()])
    assert one.is_due(1.0, 9.9) and one.why == "asked for"
    assert early_end("stop", finish=True).is_due(1.0, 0.0)
