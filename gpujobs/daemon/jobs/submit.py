"""Submissions: from the text of job files to jobs in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpujobs.backends import TENSORFLOW, backend_of
from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon.devices.membership import Membership
from gpujobs.daemon.devices.memory_monitor import MemoryMonitor
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.forecast import Forecast
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.jobs import checks, fitting
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.jobs.requests import Requests
from gpujobs.daemon.jobs.specs import Specs
from gpujobs.daemon.jobs.submissions import Needs, Prepared, SubmissionBody, new_jobs, prepare, resolve
from gpujobs.daemon.jobs.uploads import Uploads
from gpujobs.daemon.news import allowed
from gpujobs.daemon.observers import Observers
from gpujobs.daemon.patience import while_locked
from gpujobs.daemon.writer import StoreWriter
from gpujobs.errors import JobFileError, MachineError, Problem, UsageError
from gpujobs.failpoints import reach
from gpujobs.jobfile.recipients import wish
from gpujobs.model import Caller, Job, utc_now
from gpujobs.protocol.instructions import Inspect
from gpujobs.store.records import NewJob
from gpujobs.store.store import Store

MAX_ESTIMATES = 20
"""Families of one submission; each takes the time of a `check`."""

MAX_LOOKED_AT_BYTES = 256 << 20
"""Data of a prediction; more would keep its user waiting for an answer."""

MAX_CHECKED = 50
"""Jobs of one `check`; each takes a tenth of a second or more."""

MAX_FORECAST = 20
"""Jobs of a submission that is told when they will start."""

CLUSTER_SECONDS = 30.0
"""That a check waits for a daemon's cluster that is still starting."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """`notices`: what the submitter should know of what was added to the files."""

    jobs: list[Job]
    notices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check` says of each job, of the first ones; `left_out` are more."""

    files: list[dict[str, Any]]
    left_out: int


class SubmissionService:
    """`changed` is told when there are new jobs."""

    def __init__(
        self,
        store: Store,
        writer: StoreWriter,
        cache: JobCache,
        nodes: Nodes,
        link: ClusterLink,
        memory: MemoryMonitor,
        membership: Membership,
        uploads: Uploads,
        specs: Specs,
        forecast: Forecast,
        in_force: InForce,
        changed: Observers[[]],
    ) -> None:
        self._store = store
        self._writer = writer
        self._cache = cache
        self._nodes = nodes
        self._link = link
        self._memory = memory
        self._membership = membership
        self._uploads = uploads
        self._specs = specs
        self._forecast = forecast
        self._in_force = in_force
        self._changed = changed
        self._requests = Requests()
        self._estimates: dict[str, int] = {}
        """Bytes of device memory by family, for jobs of which nothing was measured yet."""

    async def submit(self, caller: Caller, body: SubmissionBody, key: str) -> Submitted | Needs:
        """The jobs, or those that the same request has made before; or which data is still to be uploaded."""
        async with self._requests.work(caller.uid, key):
            return await while_locked(lambda: self._submit(caller, body, key))

    async def _submit(self, caller: Caller, body: SubmissionBody, key: str) -> Submitted | Needs:
        if earlier := self._store.of_request(caller.uid, key):
            return Submitted(earlier)
        await self._membership.learn([caller.user])
        prepared = await self._prepare(caller, body)
        if isinstance(prepared, Needs):
            return prepared
        new = self._new_jobs(caller, body, prepared)
        reach("submit.commit")
        jobs = self._writer.jobs(lambda store: store.submit(caller, key, new))
        self._changed.tell()
        reach("submit.answer")
        if len(jobs) <= MAX_FORECAST:
            await self._forecast.fresh()
        return Submitted(jobs, checks.site_defaults(prepared, new))

    async def withdraw(self, caller: Caller, key: str) -> list[Job]:
        """What a submission has become whose user did not wait for the answer. If it was nothing, it stays so."""
        await self._requests.settled(caller.uid, key)
        jobs = self._store.of_request(caller.uid, key)
        if not jobs:
            self._requests.withdraw(caller.uid, key)
        return jobs

    async def check(self, caller: Caller, body: SubmissionBody) -> Checked | Needs:
        """Builds each model, in a process with the caller's rights, without queueing anything. Of a sweep with many
        jobs the first are looked at."""
        prepared = await self._prepare(caller, body, is_check=True)
        if isinstance(prepared, Needs):
            return prepared
        if any(job.resolved.trained_by is not None for job in prepared):
            raise UsageError(
                "check is for job files that train; this one applies a model that is trained already"
            )
        await self._link.wait_until_up(CLUSTER_SECONDS)
        reports = [
            {
                "path": job.file.path,
                "name": job.resolved.name,
                "sweep": job.resolved.sweep_values if job.resolved.group is not None else None,
                "report": fitting.require(job, await self._inspect(caller, job), self._room(job)),
                "told": self._told(caller, job),
            }
            for job in prepared[:MAX_CHECKED]
        ]
        return Checked(reports, max(0, len(prepared) - MAX_CHECKED))

    def _room(self, job: Prepared) -> fitting.Room | None:
        return fitting.room(job, self._nodes.known, self._nodes.own_name, fitting.main_memory_bytes())

    def _told(self, caller: Caller, job: Prepared) -> str | None:
        """Who will be told of what of it; None where nobody has asked for that."""
        setting, table = self._store.news.setting(caller.uid), self._in_force.site.notify
        notify = job.resolved.resolved.get("notify")
        return allowed.sentence(notify, setting, table) if wish(notify, setting) else None

    def _new_jobs(self, caller: Caller, body: SubmissionBody, prepared: list[Prepared]) -> list[NewJob]:
        """Raises where the site does not allow them."""
        options, rules = body.options, self._in_force.rules
        groups = self._membership.groups.get(caller.user, ())
        awaited = checks.dependencies(self._store, caller, options)
        checks.check_times(options, utc_now())
        checks.check_rules(prepared, options, caller, rules)
        waiting = self._cache.waiting_of(caller.uid)
        checks.check_waiting(waiting, len(prepared), caller.user, groups, rules)
        estimates = self._memory.with_runtime(self._estimates, caller.uid)
        new = new_jobs(prepared, options, self._in_force.access.default_share, estimates, awaited)
        has = self._in_force.site.nodes.has
        new = [bound(job, self._nodes.own_name, has) for job in new] if self._nodes.has_others else new
        return checks.with_time_limits(new, prepared, caller.user, groups, rules)

    async def _prepare(
        self, caller: Caller, body: SubmissionBody, *, is_check: bool = False
    ) -> list[Prepared] | Needs:
        # In a thread: a file of a MiB takes seconds, in which the others want to be answered.
        resolved = await asyncio.to_thread(resolve, body)
        checks.check_models(self._store, caller, resolved)
        if any(backend_of(job.resolved) != TENSORFLOW for _, job in resolved):
            on_gpu = self._in_force.settings.require_gpu and checks.has_gpu(
                await self._nodes.devices_of_members()
            )
            checks.check_backends(resolved, on_gpu=on_gpu)
        asks_for_gpu = any(job.demand.requested_gpu is not None or job.demand.gpu_name for _, job in resolved)
        nodes = await self._nodes.members() if asks_for_gpu else self._nodes.known
        await self._uploads.look(
            caller.uid, {d.sha256 for f in body.files for d in f.data.values() if d.sha256}
        )
        prepared = prepare(self._store, caller, resolved, is_check=is_check)
        if not isinstance(prepared, Needs) and not is_check:
            await self._estimate(caller, prepared)
            await self._look_at_predictions(caller, prepared)
        # Nothing is awaited from here to the commit, so that the data which is here cannot make way for other.
        prepared = prepare(self._store, caller, resolved, is_check=is_check)
        if not isinstance(prepared, Needs):
            checks.check_places(prepared, nodes, self._in_force.rules)
            checks.check_share(prepared, self._in_force.access)
            allowed.check_files(prepared, self._in_force.site.notify, caller)
            checks.check_retries(prepared, body.options, self._in_force.settings.max_retries)
        return prepared

    async def _estimate(self, caller: Caller, prepared: list[Prepared]) -> None:
        """The memory of jobs that leave it to us (`gpu_memory: auto`), as long as none of their family was
        measured. One that cannot be estimated gets a whole device."""
        unknown = {
            family: job
            for job in prepared
            if job.resolved.demand.gpu_memory == "auto"
            and (family := job.family) is not None
            and family not in self._memory.peaks
            and family not in self._estimates
        }
        for family, job in list(unknown.items())[:MAX_ESTIMATES]:
            try:
                report = await self._inspect(caller, job)
            except MachineError:
                return  # the cluster is still starting
            self._estimates[family] = int(report["memory_estimate_bytes"])

    async def _look_at_predictions(self, caller: Caller, prepared: list[Prepared]) -> None:
        """Refuses data that a trained model cannot be applied to, before it is queued, as far as that is seen soon.
        Raises JobFileError."""
        applying = [job for job in prepared if job.resolved.trained_by is not None]
        small = [job for job in applying if sum(one.bytes for one in job.data) <= MAX_LOOKED_AT_BYTES]
        if not small:
            return
        try:
            await self._link.wait_until_up(CLUSTER_SECONDS)
            for job in small[:MAX_ESTIMATES]:
                await self._inspect(caller, job)
        except MachineError:
            return  # the job will say it

    async def _inspect(self, caller: Caller, job: Prepared) -> Mapping[str, Any]:
        """Raises JobFileError where the job could not be trained."""
        spec = self._specs.check(caller.uid, caller.gid, job.resolved.resolved, job.data)
        try:
            # The check itself has a minute.
            seconds = 60.0 + self._link.launchers.answer_seconds(TENSORFLOW)
            answer = await self._link.call(self._nodes.own_name, Inspect(spec, seconds))
        except UsageError as error:
            problems = [
                Problem(job.file.path, job.resolved.line_in(one), one) for one in error.message.splitlines()
            ]
            raise JobFileError(problems) from None
        return answer.result


def bound(job: NewJob, own: str, is_shared: Callable[[str], bool] = lambda _: False) -> NewJob:
    """Data that is used in place is on the daemon's box, unless all see it; a job file that names another node is
    believed for it, and the node is asked before the start."""
    here = any(one.in_place is not None and not is_shared(one.in_place) for one in job.data)
    if not here or job.demand.node is not None:
        return job
    return replace(job, demand=replace(job.demand, node=own))
