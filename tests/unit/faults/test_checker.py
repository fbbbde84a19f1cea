"""The checker of `scripts/faults` believes no history that breaks an invariant."""

from __future__ import annotations

from typing import Any

import pytest
from faultsuite.box import Failure
from faultsuite.checker import check_attempts, check_devices, check_history

WHOLE = [
    (None, "PENDING"),
    ("PENDING", "STARTING"),
    ("STARTING", "RUNNING"),
    ("RUNNING", "COMPLETING"),
    ("COMPLETING", "COMPLETED"),
]


def history(*steps: tuple[str | None, str]) -> list[dict[str, Any]]:
    return [{"from_state": source, "to_state": target} for source, target in steps]


def attempt(number: int, start: int, end: int | None, job: int = 1, **more: Any) -> dict[str, Any]:
    """Seconds of one minute."""
    found = {
        "job": job,
        "number": number,
        "nonce": f"{job}-{number}",
        "device_uuid": "d",
        "exit_signal": None,
    }
    ended = None if end is None else f"2026-01-01T00:00:{end:02}Z"
    return {**found, "started_at": f"2026-01-01T00:00:{start:02}Z", "ended_at": ended, "reason": "", **more}


JOB = {"id": 1, "state": "COMPLETED", "attempt": 2, "retries": 1, "retries_used": 1}


def test_a_whole_history_is_believed() -> None:
    check_history(JOB, history(*WHOLE))
    check_attempts(JOB, [attempt(1, 1, 2), attempt(2, 2, 3)])
    check_devices([attempt(1, 1, 2), attempt(1, 2, 3, job=2)])


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (WHOLE[:-1], "wrong"),  # the store says COMPLETED, no event does
        ([*WHOLE, ("COMPLETED", "PENDING")], "wrong"),
        ([*WHOLE, ("COMPLETING", "COMPLETED")], "wrong"),
        ([WHOLE[0], WHOLE[1], ("RUNNING", "COMPLETING"), WHOLE[4]], "wrong"),
        ([WHOLE[0], ("PENDING", "COMPLETED")], "wrong"),
        (WHOLE[1:], "wrong"),
    ],
)
def test_a_history_with_a_break_or_two_ends_is_not(steps: list[tuple[str | None, str]], kind: str) -> None:
    with pytest.raises(Failure) as failure:
        check_history(JOB, history(*steps))
    assert failure.value.kind == kind


@pytest.mark.parametrize(
    ("attempts", "kind"),
    [
        ([attempt(1, 1, 3), attempt(2, 2, 4)], "doubled"),
        ([attempt(1, 1, 2), attempt(2, 2, 3, nonce="1-1")], "doubled"),
        ([attempt(1, 1, 2), attempt(2, 2, 3, nonce="")], "doubled"),
        ([attempt(1, 1, 2), attempt(2, 2, None)], "lost"),
        ([attempt(1, 1, 2)], "wrong"),
        ([attempt(1, 1, 2), attempt(3, 2, 3)], "wrong"),
    ],
)
def test_attempts_that_overlap_or_share_an_id_are_not(attempts: list[dict[str, Any]], kind: str) -> None:
    with pytest.raises(Failure) as failure:
        check_attempts(JOB, attempts)
    assert failure.value.kind == kind


def test_a_number_whose_results_were_there_already_is_not_taken_again() -> None:
    check_attempts(JOB, [attempt(2, 2, 3)], lowest=2)
    check_attempts(JOB, [attempt(2, 2, 3)], lowest=None)  # a copy may have forgotten the first
    with pytest.raises(Failure, match=r"attempts \[1, 2\]"):
        check_attempts(JOB, [attempt(1, 1, 2), attempt(2, 2, 3)], lowest=2)
    with pytest.raises(Failure, match=r"attempts \[2\]"):
        check_attempts(JOB, [attempt(2, 2, 3)])


def test_crashes_beyond_what_may_be_retried_are_not() -> None:
    crashed = [attempt(n, n, n + 1, exit_signal=11, reason="TrainerCrashed") for n in (1, 2, 3)]
    with pytest.raises(Failure, match="3 crashes, with 1 retries allowed"):
        check_attempts({**JOB, "attempt": 3}, crashed)


def test_two_jobs_on_one_device_are_not() -> None:
    with pytest.raises(Failure, match="had d at once"):
        check_devices([attempt(1, 1, 3), attempt(1, 2, 4, job=2)])
