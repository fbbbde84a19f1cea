"""A decision that looks at every job, to compare with the one that looks at the heads of lines."""

from __future__ import annotations

from gpujobs.policy import PendingJob, Preempt, Snapshot, Start
from gpujobs.policy.cycle.scheduling_cycle import SchedulingCycle
from gpujobs.policy.cycle.unschedulable import Unschedulable
from gpujobs.policy.inputs.request import Request
from gpujobs.policy.users.accounts import Account


class ForgetfulRefusals(Unschedulable):
    """Everything is tried."""

    def cover(self, request: Request, account: Account) -> bool:
        return False


class SlowRound(SchedulingCycle):
    def __init__(self, snapshot: Snapshot) -> None:
        queue = snapshot.queue().advanced(snapshot.now)
        super().__init__(snapshot, queue)
        self._refusals = ForgetfulRefusals(snapshot, queue)
        self._left = {job.id: job for job in queue.ready()}

    def assign(self) -> None:
        while self._left:
            job = self._best()
            account = self.accounts[job.user]
            del self._left[job.id]
            if account.may_run_another:
                self._serve(self.request(job, account), account)

    def _best(self) -> PendingJob:
        """The next job of the user whose next job has the best score."""
        heads: dict[str, PendingJob] = {}
        for job in sorted(self._left.values(), key=lambda job: (-job.demand.priority, job.id)):
            heads.setdefault(job.user, job)
        return min(
            heads.values(), key=lambda job: (-self.accounts.score(self.accounts[job.user], job), job.id)
        )


def decide_slowly(snapshot: Snapshot) -> tuple[tuple[Start, ...], tuple[Preempt, ...]]:
    round = SlowRound(snapshot)
    round.assign()
    return tuple(round.starts.values()), tuple(round.preemptions)
