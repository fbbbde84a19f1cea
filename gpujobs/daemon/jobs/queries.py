"""Looking at jobs: what handlers that only read are given. Nothing here can change a job: the store is a `Reader`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.access.policy import may_look_into, sees_names_of
from gpujobs.daemon.devices.foreign_monitor import ForeignProcessMonitor
from gpujobs.daemon.forecast import Forecast
from gpujobs.daemon.jobs.apart import Apart
from gpujobs.daemon.jobs.cache import JobCache, Watcher
from gpujobs.daemon.jobs.device_use import DeviceUses
from gpujobs.daemon.jobs.latest import latest_of
from gpujobs.daemon.jobs.listing import describe_groups, describe_job, made_of
from gpujobs.daemon.jobs.references import Choice, Chosen, are_few, choose
from gpujobs.daemon.jobs.shown import Shown
from gpujobs.daemon.standing import Standing
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Job, Node, Outline
from gpujobs.store.reader import Reader
from gpujobs.view import now as view


@dataclass(frozen=True, slots=True)
class JobQueries:
    store: Reader
    cache: JobCache
    forecast: Forecast
    link: ClusterLink
    """Asks nodes for what has not been collected yet."""
    foreign: ForeignProcessMonitor
    standing: Standing
    uses: DeviceUses
    site: Callable[[], Sequence[Node]] = tuple
    """The nodes, where there are several."""
    shown: Shown = field(default_factory=Shown)
    apart: Apart = field(default_factory=Apart)

    async def chosen(self, caller: Caller, choice: Choice, *, own: bool = False) -> Chosen:
        """Read apart, where they may be many."""
        if are_few(choice):
            return choose(self.store, caller, choice, own=own)
        async with self.apart.moment(caller.uid, self.store) as moment:
            return await moment.read(lambda store: choose(store, caller, choice, own=own))

    async def chosen_since(self, caller: Caller, choice: Choice, first: Chosen) -> Chosen:
        """As `chosen`; once something that was named has been pruned, what is left of `first`."""
        try:
            return await self.chosen(caller, choice)
        except UsageError:
            left = self.latest_of(first.ids)
            jobs = [left[number] for number in first.ids if number in left]
            return Chosen([job for job in jobs if choice.matches(caller, job)], first.members)

    async def chosen_to_change(self, caller: Caller, choice: Choice) -> Chosen:
        """The caller's own, as they are when this returns, for whoever changes them before anything else may."""
        chosen = await self.chosen(caller, choice, own=True)
        if are_few(choice):
            return chosen
        was_open = {job.id for job in chosen.jobs if not job.state.is_final}
        jobs = self.current(chosen.jobs)
        return Chosen(
            [job for job in jobs if job.id not in was_open or choice.matches(caller, job)], chosen.members
        )

    def current(self, jobs: Iterable[Job]) -> list[Job]:
        """As they are now, without those that were pruned meanwhile: what was read apart is of a moment that has
        passed. In the same order."""
        given = list(jobs)
        now = self.latest_of([job.id for job in given if not job.state.is_final])
        return [now.get(job.id, job) for job in given if job.state.is_final or job.id in now]

    def latest(self, number: int) -> Job:
        """Also one that has just ended."""
        return self.cache.jobs.get(number) or self.store.job(number)

    def latest_of(self, ids: Collection[int]) -> dict[int, Job]:
        """Those of these that there are, by their ids, also such as have just ended."""
        return latest_of(self.cache, self.store, ids)

    def whole(self, jobs: Iterable[Job | Outline]) -> list[Job]:
        """In the same order, with those that are outlined read from the store, but for what was pruned meanwhile."""
        given = list(jobs)
        outlined = [job.id for job in given if isinstance(job, Outline)]
        read = {job.id: job for job in self.store.existing(outlined)} if outlined else {}
        found = (read.get(job.id) if isinstance(job, Outline) else job for job in given)
        return [job for job in found if job is not None]

    def json(self, job: Job, caller: Caller) -> dict[str, Any]:
        """As `caller` is to see it."""
        return describe_job(self.cache, job, caller, self.forecast.expected.get(job.id))

    def row(self, job: Job, caller: Caller) -> view.Row:
        """As `caller` is to see it."""
        is_own = job.uid == caller.uid
        return self.shown.row(
            (job.id, is_own, sees_names_of(caller, job), may_look_into(caller, job)),
            made_of(self.cache, job, self.forecast.expected.get(job.id)),
            lambda: view.row({"job": self.json(job, caller)}, is_own=is_own),
        )

    def lately(self) -> list[Job]:
        """Some that have ended, the newest last."""
        return self.shown.lately(self.store)

    def groups(self, ids: Collection[int], caller: Caller) -> dict[int, dict[str, Any]]:
        return describe_groups(self.cache, self.store.groups(ids), caller)

    def watch(self, ids: Iterable[int] | None) -> Watcher:
        """Of these jobs, or of all: whoever watches says `unwatch` at the end."""
        return self.cache.watch(None if ids is None else frozenset(ids))

    def unwatch(self, watcher: Watcher) -> None:
        self.cache.unwatch(watcher)
