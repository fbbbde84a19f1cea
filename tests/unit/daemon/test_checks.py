"""What a submission is refused for before it is queued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.jobs.checks import check_limit, check_retries, check_rules, check_waiting, dependencies
from gpujobs.daemon.jobs.submissions import OptionsBody
from gpujobs.demand import Dependencies
from gpujobs.errors import UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Reason, State
from gpujobs.policy import Rules
from gpujobs.policy.inputs.rules import Limits, PriorityRules, UserLimits
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, complete, having, new_job

FAILED = Finish(State.FAILED, Reason.TRAINING_ERROR, "")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Job 1 has completed, job 2 has failed, job 3 waits; of g4, job 4 has completed and job 5 waits; of g6, job 6
    has completed and 7 has failed."""
    opened = Store(tmp_path / "s.db")
    grouped = [
        having(new_job(), group=name, group_start=at) for name, at in (("s", 3), ("s", 3), ("t", 5), ("t", 5))
    ]
    opened.submit(A, "k", [new_job(), new_job(), new_job(), *grouped])
    for job in (1, 4, 6):
        complete(opened, job)
    for job in (2, 7):
        complete(opened, job, FAILED)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"after": [1, 3]}, Dependencies(after=(1, 3))),
        ({"after_any": [2, 3]}, Dependencies(after_any=(2, 3))),
        ({"after_failed": [2, 3]}, Dependencies(after_failed=(2, 3))),
        ({"after": [3], "after_any": [3, 2]}, Dependencies(after=(3,), after_any=(2,))),
        ({"after_failed": [3], "after_any": [3, 2]}, Dependencies(after_failed=(3,), after_any=(2,))),
        ({"after": ["g4"]}, Dependencies(after=(4, 5), groups={4: 4, 5: 4})),
        ({"after": ["g4", 5]}, Dependencies(after=(4, 5), groups={4: 4})),
        ({"after_failed": ["g4"]}, Dependencies(after_failed=(4, 5), groups={4: 4, 5: 4})),
        ({"after_any": ["1-3"]}, Dependencies(after_any=(1, 2, 3))),
    ],
)
def test_what_is_waited_for(store: Store, asked: dict[str, Any], found: Dependencies) -> None:
    assert dependencies(store, A, OptionsBody(**asked)) == found


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"after": [2]}, "--after 2: job 2 has ended FAILED and will not complete"),
        ({"after": ["g6"]}, "--after 7: job 7 has ended FAILED and will not complete"),
        ({"after_failed": [1]}, "--after-failed 1: it has completed, and nothing of it will fail"),
        ({"after": [3], "after_failed": [3]}, "job 3 cannot both complete and fail"),
        ({"after_any": [99]}, "job 99 does not exist"),
    ],
)
def test_what_cannot_come_out_is_refused(store: Store, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dependencies(store, A, OptionsBody(**asked))


RULES = Rules(
    priority=PriorityRules(max_priority=5),
    limits=Limits(default=UserLimits(max_waiting=10, max_time_limit_seconds=60)),
)


def test_the_sites_bounds_may_be_reached_and_not_passed() -> None:
    check_waiting(7, 3, "a", (), RULES)
    check_limit(60, A, (), RULES)
    check_rules([], OptionsBody(priority=5), A, RULES)
    check_retries([], OptionsBody(retries=3), 3)
    for refused in (
        lambda: check_waiting(7, 4, "a", (), RULES),
        lambda: check_limit(61, A, (), RULES),
        lambda: check_rules([], OptionsBody(priority=6), A, RULES),
        lambda: check_retries([], OptionsBody(retries=4), 3),
    ):
        with pytest.raises(UsageError):
            refused()
    admin = replace(A, is_admin=True)
    check_limit(61, admin, (), RULES)
    check_rules([], OptionsBody(priority=6), admin, RULES)
