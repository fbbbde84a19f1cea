"""One decision in the making."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from gpujobs.policy.cycle.backfill import cast_shadow
from gpujobs.policy.cycle.fair_order import FairOrder
from gpujobs.policy.cycle.preemption import Preemption, Way
from gpujobs.policy.cycle.unschedulable import Unschedulable
from gpujobs.policy.devices.free_index import Pool
from gpujobs.policy.devices.memory import need_bytes
from gpujobs.policy.devices.occupancy import Occupancy, occupancies
from gpujobs.policy.devices.plan import Plan
from gpujobs.policy.inputs.decision import Preempt, Start
from gpujobs.policy.inputs.pending_job import PendingJob
from gpujobs.policy.inputs.queue import Queue, Signature
from gpujobs.policy.inputs.request import Request, after
from gpujobs.policy.inputs.snapshot import Snapshot
from gpujobs.policy.users.accounts import Account, Accounts
from gpujobs.policy.users.fairshare import device_share


class SchedulingCycle:
    """Gathers what is there as far as it is needed; `assign` fills `starts`, `preemptions` and `awaited`."""

    def __init__(self, snapshot: Snapshot, queue: Queue) -> None:
        self.snapshot = snapshot
        self.queue = queue
        self.starts: dict[int, Start] = {}
        self.preemptions: list[Preempt] = []
        self.awaited: dict[int, Plan] = {}
        """The device that is being freed for a waiting job, by job."""
        self._refusals = Unschedulable(snapshot, queue)

    @cached_property
    def views(self) -> list[Occupancy]:
        return occupancies(self.snapshot)

    @cached_property
    def pool(self) -> Pool:
        return Pool(self.snapshot, self.views)

    @cached_property
    def _preemption(self) -> Preemption:
        return Preemption(self.pool)

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.snapshot, self.queue, self.views)

    def assign(self) -> None:
        if not self.queue.has_ready or not self._can_give:
            return
        turns = FairOrder(self.queue, self.accounts, self._refusals, self._is_hopeless)
        while self._can_give and (turn := turns.next()) is not None:
            job, account = turn
            if not account.may_run_another:
                turns.leave()
            elif self.is_group_full(job):
                turns.refused()
            elif self._serve(self.request(job, account), account):
                turns.served()
            else:
                turns.refused()

    def is_group_full(self, job: PendingJob) -> bool:
        """Whether as many of its group run, or are given a device now, as may at once."""
        most = job.demand.at_most
        return most is not None and job.group is not None and self._running[job.group] >= most

    @cached_property
    def _running(self) -> Counter[int]:
        """Jobs by group, where that is limited."""
        return Counter(one.group for one in self.snapshot.allocations if one.group is not None)

    def _is_hopeless(self, kind: Signature) -> bool:
        """Whether no device of its place has room for this now. The first of each place is not asked about, since it
        is to get a shadow."""
        memory = kind.memory
        if kind.place not in self._refusals.places or self._preemption.lowest_class is not None:
            return False
        if memory is None:
            return not self.pool.has_free(kind.place)
        return isinstance(memory, int) and memory > self.pool.most_room(kind.place)

    def request(self, job: PendingJob, account: Account) -> Request:
        now, kind = self.snapshot.now, self.queue.signature_of(job)
        ends_by = after(now, job.demand.time_limit_seconds)
        return Request(
            job=job.id,
            user=job.user,
            groups=account.groups,
            demand=job.demand,
            need_bytes=need_bytes(kind, self.snapshot.measured),
            ends_by=ends_by,
            expected_end=ends_by if job.expected_seconds is None else after(now, job.expected_seconds),
            signature=kind,
        )

    @property
    def _can_give(self) -> bool:
        if self._preemption.lowest_class is not None:
            return True
        return self.pool.has_room and not self._refusals.cover_all

    def _serve(self, request: Request, account: Account) -> bool:
        """Gives the job a device, or makes one free for it. False where neither can be."""
        if self._refusals.cover(request, account):
            return False
        may_add = account.may_hold_another_device
        plan = self.pool.place(request, on_own_only=not may_add)
        if plan is not None:
            self._start(request, account, plan)
            return True
        if not may_add:
            return False
        way = self._preemption.make_way(request)
        if way is not None:
            self._await(request, account, way)
            return True
        self._refuse(request, account)
        return False

    def _refuse(self, request: Request, account: Account) -> None:
        """The first one to be refused of each place gets a shadow."""
        has_shadows = bool(self._refusals.places)
        is_first = request.place not in self._refusals.places
        whatever_limit = not self.snapshot.reservations and (request.is_whole or not has_shadows)
        self._refusals.add(request, account, whatever_limit=whatever_limit)
        if is_first:
            cast_shadow(self.pool, request)

    def _start(self, request: Request, account: Account, plan: Plan) -> None:
        self.pool.take(plan, request)
        memory = request.need_bytes if plan.is_shared else None
        device = plan.view.device
        self.starts[request.job] = Start(request.job, device.node, device.uuid, memory)
        self.accounts.give(account, device.uuid, device_share(memory, device.memory_total_bytes))
        self._count(request)

    def _await(self, request: Request, account: Account, way: Way) -> None:
        self.preemptions += [Preempt(victim.job, request.job) for victim in way.victims]
        self.awaited[request.job] = way.plan
        device = way.plan.view.device
        share = device_share(request.need_bytes, device.memory_total_bytes)
        self.accounts.give(account, device.uuid, share)
        self._count(request)

    def _count(self, request: Request) -> None:
        group = request.signature.group
        if group is not None:
            self._running[group] += 1
