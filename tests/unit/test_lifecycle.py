"""The transition table and what follows the end of an attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.lifecycle import (
    TRANSITIONS,
    Finish,
    IllegalTransitionError,
    Requeue,
    check_transition,
    follow_up,
    mermaid,
)
from gpujobs.model import FINAL_STATES, Reason, State
from tests.unit.records import JOB, record


def test_final_states_absorb() -> None:
    for final in FINAL_STATES:
        assert TRANSITIONS[final] == frozenset()
        with pytest.raises(IllegalTransitionError, match=f"job 7: {final} -> PENDING"):
            check_transition(7, final, State.PENDING, str)


def test_every_state_leads_to_an_end() -> None:
    reached = {State.PENDING}
    while more := {target for state in reached for target in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(State)
    assert all(TRANSITIONS[state] for state in set(State) - FINAL_STATES)


def test_only_completing_leads_to_completed() -> None:
    assert [s for s in State if State.COMPLETED in TRANSITIONS[s]] == [State.COMPLETING]


def test_diagram_shows_every_legal_step() -> None:
    lines = mermaid().splitlines()
    steps = sum(len(targets) for targets in TRANSITIONS.values())
    assert len(lines) == 2 + steps + len(FINAL_STATES)


def test_success() -> None:
    assert follow_up(JOB, record(State.COMPLETED)) == Finish(State.COMPLETED, Reason.NONE, "")


def test_success_wins_over_a_late_cancel() -> None:
    job = replace(JOB, cancel_requested=True)
    assert follow_up(job, record(State.COMPLETED)) == Finish(State.COMPLETED, Reason.NONE, "")


def test_crash_is_retried_until_the_retries_are_used() -> None:
    crash = record(State.FAILED, Reason.SIGNAL)
    first = follow_up(JOB, crash)
    assert first == Requeue(Reason.RETRY, "attempt 1 ended: why", uses_retry=True)
    assert follow_up(replace(JOB, retries_used=1), crash) == Finish(State.FAILED, Reason.SIGNAL, "why")


def test_an_error_of_the_job_is_not_retried() -> None:
    step = follow_up(JOB, record(State.FAILED, Reason.DATA_ERROR))
    assert step == Finish(State.FAILED, Reason.DATA_ERROR, "why")


def test_a_cancelled_job_is_never_queued_again() -> None:
    job = replace(JOB, cancel_requested=True, message="cancelled by a")
    for reason in (Reason.SIGNAL, Reason.SUPERVISOR_LOST, Reason.CANCELLED_BY_USER):
        assert follow_up(job, record(State.FAILED, reason)) == Finish(
            State.CANCELLED, Reason.CANCELLED_BY_USER, "cancelled by a"
        )


def test_preemption_costs_no_retry() -> None:
    step = follow_up(replace(JOB, retries=0), record(State.CANCELLED, stopped_for="preempt"))
    assert isinstance(step, Requeue) and not step.uses_retry


@given(
    st.sampled_from(sorted(FINAL_STATES)),
    st.sampled_from(sorted(Reason)),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_what_follows_is_a_legal_step(
    state: State, reason: Reason, cancelled: bool, retries: int, used: int
) -> None:
    job = replace(JOB, cancel_requested=cancelled, retries=retries, retries_used=used)
    step = follow_up(job, record(state, reason))
    target = step.state if isinstance(step, Finish) else State.PENDING
    check_transition(job.id, State.COMPLETING, target, str)
    if isinstance(step, Requeue):
        assert not cancelled
        assert not step.uses_retry or used < retries


def test_every_reason_to_end_has_a_final_state() -> None:
    waiting = {
        Reason.NONE,
        Reason.PRIORITY,
        Reason.RESOURCES,
        Reason.FOREIGN_PROCESS,
        Reason.DEVICE_UNAVAILABLE,
        Reason.DRIVER_ERROR,
        Reason.NODE_STARTING,
        Reason.NODE_DOWN,
        Reason.HELD,
        Reason.DEPENDENCY,
        Reason.BEGIN_TIME,
        Reason.USER_LIMIT,
        Reason.GROUP_LIMIT,
        Reason.RESERVED,
        Reason.PREEMPTING,
        Reason.RETRY,
    }
    for reason in Reason:
        assert (reason.final_state is None) == (reason in waiting), reason
        assert not (reason.is_retryable and reason in waiting), reason
