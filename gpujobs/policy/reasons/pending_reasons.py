"""Why the jobs of a queue wait, each made when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property

from gpujobs.demand import ANYWHERE, Place
from gpujobs.model import Reason
from gpujobs.policy.cycle.scheduling_cycle import SchedulingCycle
from gpujobs.policy.devices.occupancy import label_of
from gpujobs.policy.devices.plan import Plan
from gpujobs.policy.inputs.decision import PendingReason
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.text import count, instant, listing
from gpujobs.policy.reasons.explain import explain, reason_of
from gpujobs.policy.users.accounts import Account


class PendingReasons(Mapping[int, PendingReason]):
    """Of the jobs that a decision does not start, by id. A job that leaves the queue later is not in it."""

    def __init__(self, round: SchedulingCycle) -> None:
        self._round = round
        self._everywhere: dict[Place, bool] = {}
        self._reasons: dict[Place, Reason] = {}
        """Where nothing is reserved, of the places that were asked about."""

    def __getitem__(self, id: int) -> PendingReason:
        if id in self._round.starts:
            raise KeyError(id)
        job = self._round.queue[id]
        if not self._round.queue.is_ready(id):
            return _own_wait(job)
        if job.user not in self._round.accounts:
            return PendingReason(Reason.PRIORITY, "has just come; the next decision looks at it")
        return self._ready_wait(job, self._round.accounts[job.user])

    def __iter__(self) -> Iterator[int]:
        return (job.id for job in self._round.queue if job.id not in self._round.starts)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def counts(self) -> Counter[Reason]:
        """How many jobs wait for what, without the words: those of a user that ask for the same wait for the same.
        Ten thousand jobs are counted in a few milliseconds."""
        found = Counter(_own_reason(job) for job in self._round.queue.apart())
        first: list[tuple[float, int]] = []
        for user, jobs in self._round.queue.users.items():
            for kind, line in jobs.lines.items():
                ids = [id for _, id in line if id not in self._round.starts]
                if ids and user in self._round.accounts:
                    self._count(ids, kind.place, self._round.accounts[user], found, first)
                elif ids:
                    found[Reason.PRIORITY] += len(ids)
        if first and (id := min(first)[1]) not in self._round.awaited:
            job = self._round.queue[id]
            if job.demand.place == ANYWHERE:  # nobody is ahead of it
                found[Reason.PRIORITY] -= 1
                found[self._reason(job, self._round.accounts[job.user])] += 1
        return +found

    def _count(
        self,
        ids: list[int],
        place: Place,
        account: Account,
        found: Counter[Reason],
        first: list[tuple[float, int]],
    ) -> None:
        """`ids`: the jobs of a line, which ask for this place. `first` gets the score of its head, where others can be
        ahead of it."""
        head, of_line = self._round.queue[ids[0]], len(ids)
        if not account.may_run_another:
            found[Reason.USER_LIMIT] += of_line
            return
        awaited = sum(id in self._round.awaited for id in ids)
        found[Reason.PREEMPTING] += awaited
        if self._round.is_group_full(head):
            found[Reason.GROUP_LIMIT] += of_line - awaited
            return
        if not account.may_hold_another_device:
            found[Reason.USER_LIMIT] += of_line - awaited
            return
        is_anywhere = place == ANYWHERE
        if is_anywhere or self._is_everywhere(place):
            first.append((-self._round.accounts.score(account, head), head.id))
        if of_line > awaited:
            reason = Reason.PRIORITY if is_anywhere else self._reason(head, account)
            found[reason] += of_line - awaited

    def _ready_wait(self, job: PendingJob, account: Account) -> PendingReason:
        if not account.may_run_another:
            most = account.limits.max_running
            return PendingReason(
                Reason.USER_LIMIT, f"{job.user} has {account.running} jobs running, of {most} allowed"
            )
        if job.id not in self._round.awaited and self._round.is_group_full(job):
            return PendingReason(
                Reason.GROUP_LIMIT, f"at most {job.demand.at_most} of g{job.group} may run at once (at_most)"
            )
        if job.id in self._round.awaited:
            return self._preempting(job, self._round.awaited[job.id])
        if not account.may_hold_another_device:
            held = count(len(account.devices), "device")
            return PendingReason(
                Reason.USER_LIMIT, f"{job.user} has {held}, of {account.limits.max_gpus} allowed"
            )
        if job.demand.place != ANYWHERE:
            return self._explain(job, account)
        ahead = self._ahead.get(job.id, 0)
        if ahead:
            return PendingReason(Reason.PRIORITY, f"{ahead} {'job is' if ahead == 1 else 'jobs are'} ahead")
        return self._explain(job, account)

    def _preempting(self, job: PendingJob, plan: Plan) -> PendingReason:
        victims = [one.job for one in self._round.preemptions if one.for_job == job.id]
        device = plan.view.device
        name = label_of(device.node if len(self._round.snapshot.nodes) > 1 else None, device)
        if not victims:
            return PendingReason(Reason.PREEMPTING, f"{name} is being freed for it")
        who = f"job {victims[0]} of a lower class stops"
        if len(victims) > 1:
            who = f"jobs {listing(victims)} of a lower class stop"
        return PendingReason(Reason.PREEMPTING, f"{name} is being freed for it: {who}")

    def _explain(self, job: PendingJob, account: Account) -> PendingReason:
        plans = self._round.pool.candidates(job.demand.place)
        request = self._round.request(job, account)
        return explain(request, plans, self._round.snapshot, self._given)

    def _reason(self, job: PendingJob, account: Account) -> Reason:
        """As of `_explain`. Where nothing is reserved, all that ask for the same place wait for the same."""
        place = job.demand.place
        known = self._reasons.get(place)
        if known is not None:
            return known
        plans = self._round.pool.candidates(place)
        found = reason_of(self._round.request(job, account), plans, self._round.snapshot)
        if not self._round.snapshot.reservations:
            self._reasons[place] = found
        return found

    def _is_everywhere(self, place: Place) -> bool:
        """Whether there is no device elsewhere: who asks for this place waits for what all others wait for."""
        known = self._everywhere.get(place)
        if known is None:
            known = len(self._round.pool.plans) == len(self._round.pool.candidates(place))
            self._everywhere[place] = known
        return known

    @cached_property
    def _given(self) -> dict[str, list[int]]:
        given: dict[str, list[int]] = {}
        for start in self._round.starts.values():
            given.setdefault(start.device_uuid, []).append(start.job)
        return given

    @cached_property
    def _ahead(self) -> dict[int, int]:
        """How many jobs are ahead of each, of those that wait for any device: by score, then submission. One that
        asks for a certain GPU, or whose user may have no further device, takes none that they could get."""
        queue, starts, scored = self._round.queue, self._round.starts, list[tuple[float, int]]()
        for user, jobs in queue.users.items():
            if (
                user not in self._round.accounts
                or not (account := self._round.accounts[user]).may_run_another
            ):
                continue
            if not account.may_hold_another_device:
                continue
            score = self._round.accounts.score
            for kind, line in jobs.lines.items():  # in which all ask for the same
                head = queue[line[0][1]]
                is_for_all = kind.place == ANYWHERE or self._is_everywhere(kind.place)
                if is_for_all and not self._round.is_group_full(head):
                    scored += [(-score(account, queue[id]), id) for _, id in line if id not in starts]
        return {id: ahead for ahead, (_, id) in enumerate(sorted(scored))}


def _own_wait(job: PendingJob) -> PendingReason:
    """A reason that lies in the job itself, whatever is free."""
    if job.held:
        return PendingReason(Reason.HELD, f"`gpujobs release {job.id}` lets it go")
    if job.waits_for:
        return PendingReason(Reason.DEPENDENCY, _dependency(job))
    begin_at = job.demand.begin_at
    return PendingReason(Reason.BEGIN_TIME, f"begins at {instant(begin_at)}" if begin_at else "")


def _own_reason(job: PendingJob) -> Reason:
    if job.held:
        return Reason.HELD
    return Reason.DEPENDENCY if job.waits_for else Reason.BEGIN_TIME


def _dependency(job: PendingJob) -> str:
    noun = "job" if len(job.waits_for) == 1 else "jobs"
    text = f"waits for the end of {noun} {listing(job.waits_for)}"
    if not job.waits_for_failure:
        return text
    if job.waits_for_failure == job.waits_for:
        return f"{text}, and starts only after a failure"
    return f"{text}, and starts only if {listing(job.waits_for_failure)} has failed"
