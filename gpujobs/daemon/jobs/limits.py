"""Another time limit for jobs that have not ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from gpujobs.daemon.jobs.checks import check_limit
from gpujobs.daemon.jobs.service import JobService
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, utc_now
from gpujobs.policy.inputs.text import duration
from gpujobs.policy.users.limits import limits_of


async def change_limit(
    service: JobService, caller: Caller, jobs: Sequence[Job], seconds: float | None
) -> list[Job]:
    """Lower, or higher within what the site allows; admins any. None takes it away. A running attempt's time
    counts from its start. Raises UsageError where one of the jobs would be stopped by it at once."""
    groups = await service.groups_of(caller.user)
    most = limits_of(caller.user, groups, service.rules.limits).max_time_limit_seconds
    if seconds is None and most is not None and not caller.is_admin:
        raise UsageError(f"a job without a time limit is not allowed; at most {duration(most)} are.")
    for job in jobs:
        before = job.demand.time_limit_seconds
        if seconds is not None and (before is None or seconds > before):
            check_limit(seconds, caller, groups, service.rules)
        _check_not_over(job, seconds)
    changed = await service.in_batches(
        jobs,
        lambda store, job: store.set_time_limit(job, seconds, caller.user),
        lambda job: not job.state.is_final,
    )
    for job in changed:
        await service.attempts.adjust(job)
    service.changed.tell()
    return changed


def _check_not_over(job: Job, seconds: float | None) -> None:
    if seconds is None or job.current is None or not job.state.holds_device:
        return
    if utc_now() >= job.current.started_at + timedelta(seconds=seconds):
        ran = (utc_now() - job.current.started_at).total_seconds()
        raise UsageError(
            f"job {job.id} has run for {duration(ran)}, more than {duration(seconds)}; "
            f"`gpujobs finish {job.id}` ends it with its model, `gpujobs cancel {job.id}` without"
        )
