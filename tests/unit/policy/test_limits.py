"""What a user may have at once, and submit."""

from __future__ import annotations

import pytest

from gpujobs.errors import UsageError
from gpujobs.model import Reason
from gpujobs.policy import Rules
from gpujobs.policy.inputs.rules import Limits, PriorityRules, UserLimits
from gpujobs.policy.users.limits import check_begin, check_priority, check_waiting, limits_of, time_limit_of

from .box import GIB, NOW, gpus, later, packed, pending, run, started, whole


def limited(**values: int) -> Rules:
    return Rules(limits=Limits(users={"a": UserLimits(**values)}))


def test_no_more_jobs_than_allowed_run_at_once() -> None:
    waiting = [pending(id, 0, user="a") for id in (1, 2, 3)] + [pending(4, 0, user="b")]
    decision = run(waiting, gpus(4), [whole(9, 0, user="a")], rules=limited(max_running=2))
    assert sorted(job for job, _ in started(decision)) == [1, 4]
    assert decision.waits[3].reason is Reason.USER_LIMIT
    assert decision.waits[3].message == "a has 2 jobs running, of 2 allowed"


def test_packed_jobs_on_one_device_count_as_one_gpu() -> None:
    waiting = [pending(id, 0, user="a", gpu_memory=30 * GIB) for id in (1, 2, 3)]
    waiting.append(pending(4, 0, user="a"))
    decision = run(waiting, gpus(4), [packed(9, 2, 8, user="a")], rules=limited(max_gpus=1))
    assert started(decision) == [(1, "GPU-2"), (2, "GPU-2")]
    assert decision.waits[4].reason is Reason.USER_LIMIT
    assert decision.waits[4].message == "a has 1 device, of 1 allowed"


def test_a_device_counts_once_however_many_of_ones_jobs_share_it() -> None:
    shared = [packed(7, 0, 8, user="a"), packed(8, 0, 8, user="a")]
    job = pending(1, 0, user="a")
    assert started(run([job], gpus(3), shared, rules=limited(max_gpus=2))) == [(1, "GPU-1")]
    assert not started(run([job], gpus(3), [*shared, whole(9, 1, user="a")], rules=limited(max_gpus=2)))


def test_a_user_at_the_limit_does_not_stand_in_the_way() -> None:
    waiting = [pending(1, 0, user="a"), pending(2, 0, user="b"), pending(3, 0, user="b")]
    decision = run(waiting, gpus(1), rules=limited(max_running=0))
    assert started(decision) == [(2, "GPU-0")]
    assert decision.waits[3].message == "GPU 0 is used by job 2"


def test_the_users_own_limit_then_the_groups_most_generous_then_the_default() -> None:
    limits = Limits(
        default=UserLimits(max_running=1, max_gpus=1, max_waiting=10),
        users={"a": UserLimits(max_running=7)},
        groups={"vision": UserLimits(max_running=2, max_gpus=2), "speech": UserLimits(max_gpus=3)},
    )
    assert limits_of("a", ("vision", "speech"), limits) == UserLimits(7, 3, 10)
    assert limits_of("b", ("vision",), limits) == UserLimits(2, 2, 10)
    assert limits_of("c", ("nogroup",), limits) == UserLimits(1, 1, 10)


@pytest.mark.parametrize(
    ("asked", "most", "default", "expected"),
    [
        (None, None, None, None),
        (None, None, 60, 60),
        (None, 90, None, 90),
        (None, 30, 60, 30),
        (90, 90, 60, 90),
        (50, None, 60, 50),
    ],
)
def test_the_time_limit_of_a_job(
    asked: float | None, most: float | None, default: float | None, expected: float | None
) -> None:
    limits = UserLimits(max_time_limit_seconds=most, default_time_limit_seconds=default)
    assert time_limit_of(asked, limits) == expected


def test_too_much_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"the time limit is 3 d; at most 2 d are allowed"):
        time_limit_of(3 * 86400, UserLimits(max_time_limit_seconds=2 * 86400))
    check_waiting(7, 3, UserLimits(max_waiting=10))
    with pytest.raises(UsageError, match=r"4 jobs submitted while 7 .* at most 10 .* so 3 more are allowed"):
        check_waiting(7, 4, UserLimits(max_waiting=10))
    check_priority(5, PriorityRules(max_priority=5), is_admin=False)
    check_priority(9, PriorityRules(), is_admin=True)
    with pytest.raises(UsageError, match=r"the priority is 1; at most 0 is allowed"):
        check_priority(1, PriorityRules(), is_admin=False)
    check_begin(NOW, NOW)
    with pytest.raises(UsageError, match=r"2026-01-05 11:59 UTC, is in the past; it is 2026-01-05 12:00 UTC"):
        check_begin(later(-60), NOW)
    check_begin(later(10 * 365 * 86400), NOW)
    for year in (2999, 9999):  # the forecast would count beyond the calendar
        with pytest.raises(UsageError, match=f"in {year}; at most 10 years from now"):
            check_begin(NOW.replace(year=year), NOW)
