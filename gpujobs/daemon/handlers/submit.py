"""`POST /v1/jobs` and `POST /v1/check`: job files come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from gpujobs.backends import TENSORFLOW, backend_of
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.jobs import checks
from gpujobs.daemon.jobs.submissions import (
    Needs,
    Prepared,
    SubmissionBody,
    WithdrawBody,
    new_jobs,
    prepare,
    require_request_key,
    resolve,
)
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.patience import while_locked
from gpujobs.errors import JobFileError, MachineError, Problem, UsageError
from gpujobs.failpoints import reach
from gpujobs.model import Caller, Job, utc_now
from gpujobs.protocol.instructions import Inspect
from gpujobs.store.records import NewJob

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


async def handle(request: web.Request) -> web.Response:
    daemon, caller = daemon_of(request), caller_of(request)
    body = await body_of(request, SubmissionBody)
    key = require_request_key(body)
    async with daemon.requests.work(caller.uid, key):
        return await while_locked(lambda: _submit(daemon, caller, body, key))


async def _submit(daemon: Daemon, caller: Caller, body: SubmissionBody, key: str) -> web.Response:
    if earlier := daemon.store.of_request(caller.uid, key):
        return _created(daemon, caller, earlier)
    await daemon.membership.learn([caller.user])
    prepared = await _prepare(daemon, caller, body)
    if isinstance(prepared, Needs):
        return web.json_response(prepared.to_wire())
    new = _new_jobs(daemon, caller, body, prepared)
    reach("submit.commit")
    jobs = daemon.store.submit(caller, key, new)
    daemon.submitted(jobs)
    reach("submit.answer")
    if len(jobs) <= MAX_FORECAST:
        await daemon.forecast.fresh()
    return _created(daemon, caller, jobs, checks.site_defaults(prepared, new))


async def withdraw(request: web.Request) -> web.Response:
    """`POST /v1/requests/withdraw`: what a submission has become whose user did not wait for the answer. If it was
    nothing, it stays so."""
    daemon, caller = daemon_of(request), caller_of(request)
    key = (await body_of(request, WithdrawBody)).request_key
    await daemon.requests.settled(caller.uid, key)
    jobs = daemon.store.of_request(caller.uid, key)
    if not jobs:
        daemon.requests.withdraw(caller.uid, key)
    return web.json_response({"jobs": [daemon.board.json(job, caller) for job in jobs]})


def _new_jobs(daemon: Daemon, caller: Caller, body: SubmissionBody, prepared: list[Prepared]) -> list[NewJob]:
    """Raises where the site does not allow them."""
    options, rules = body.options, daemon.rules
    groups = daemon.membership.groups.get(caller.user, ())
    awaited = checks.dependencies(daemon.store, caller, options)
    checks.check_times(options, utc_now())
    checks.check_rules(prepared, options, caller, rules, daemon.nodes.known)
    waiting = daemon.board.waiting_of(caller.uid)
    checks.check_waiting(waiting, len(prepared), caller.user, groups, rules)
    new = new_jobs(prepared, options, daemon.gatekeeper.default_share, daemon.estimates, awaited)
    return checks.with_time_limits(new, prepared, caller.user, groups, rules)


async def check(request: web.Request) -> web.Response:
    """Builds each model, in a process with the caller's rights, without queueing anything. Of a sweep with many jobs
    the first are looked at."""
    daemon, caller = daemon_of(request), caller_of(request)
    body = await body_of(request, SubmissionBody)
    prepared = await _prepare(daemon, caller, body, is_check=True)
    if isinstance(prepared, Needs):
        return web.json_response(prepared.to_wire())
    if any(job.resolved.trained_by is not None for job in prepared):
        raise UsageError(
            "check is for job files that train; this one applies a model that is trained already"
        )
    await daemon.link.wait_until_up(CLUSTER_SECONDS)
    reports = [
        {
            "path": job.file.path,
            "name": job.resolved.name,
            "sweep": job.resolved.sweep_values if job.resolved.group is not None else None,
            "report": await _inspect(daemon, caller, job),
        }
        for job in prepared[:MAX_CHECKED]
    ]
    return web.json_response({"files": reports, "left_out": max(0, len(prepared) - MAX_CHECKED)})


async def _prepare(
    daemon: Daemon, caller: Caller, body: SubmissionBody, *, is_check: bool = False
) -> list[Prepared] | Needs:
    # In a thread: a file of a MiB takes seconds, in which the others want to be answered.
    resolved = await asyncio.to_thread(resolve, body)
    checks.check_models(daemon.store, caller, resolved)
    if any(backend_of(job.resolved) != TENSORFLOW for _, job in resolved):
        on_gpu = daemon.settings.require_gpu and checks.has_gpu(await daemon.devices())
        checks.check_backends(resolved, on_gpu=on_gpu)
    asks_for_gpu = any(job.requested_gpu is not None for _, job in resolved)
    devices = await daemon.devices() if asks_for_gpu else []
    await daemon.uploads.look(caller.uid, {d.sha256 for f in body.files for d in f.data.values() if d.sha256})
    prepared = prepare(daemon.store, caller, resolved, is_check=is_check)
    if not isinstance(prepared, Needs) and not is_check:
        await _estimate(daemon, caller, prepared)
        await _look_at_predictions(daemon, caller, prepared)
    # Nothing is awaited from here to the commit, so that the data which is here cannot make way for other.
    prepared = prepare(daemon.store, caller, resolved, is_check=is_check)
    if not isinstance(prepared, Needs):
        checks.check_devices(prepared, devices)
        checks.check_share(prepared, daemon.gatekeeper)
        checks.check_retries(prepared, body.options, daemon.settings.max_retries)
    return prepared


async def _estimate(daemon: Daemon, caller: Caller, prepared: list[Prepared]) -> None:
    """The memory of jobs that leave it to us (`gpu_memory: auto`), as long as none of their family was
    measured. One that cannot be estimated gets a whole device."""
    unknown = {
        job.family: job
        for job in prepared
        if job.family is not None
        and job.resolved.gpu_memory == "auto"
        and job.family not in daemon.measurements.peaks
        and job.family not in daemon.estimates
    }
    for family, job in list(unknown.items())[:MAX_ESTIMATES]:
        try:
            report = await _inspect(daemon, caller, job)
        except MachineError:
            return  # the cluster is still starting
        daemon.estimates[family] = int(report["memory_estimate_bytes"])


async def _look_at_predictions(daemon: Daemon, caller: Caller, prepared: list[Prepared]) -> None:
    """Refuses data that a trained model cannot be applied to, before it is queued, as far as that is seen soon.
    Raises JobFileError."""
    applying = [job for job in prepared if job.resolved.trained_by is not None]
    small = [job for job in applying if sum(one.bytes for one in job.data) <= MAX_LOOKED_AT_BYTES]
    if not small:
        return
    try:
        await daemon.link.wait_until_up(CLUSTER_SECONDS)
        for job in small[:MAX_ESTIMATES]:
            await _inspect(daemon, caller, job)
    except MachineError:
        return  # the job will say it


async def _inspect(daemon: Daemon, caller: Caller, job: Prepared) -> Mapping[str, Any]:
    """Raises JobFileError where the job could not be trained."""
    spec = daemon.specs.check(caller.uid, caller.gid, job.resolved.resolved, job.data)
    try:
        # The check itself has a minute.
        seconds = 60.0 + daemon.link.launchers.answer_seconds(TENSORFLOW)
        answer = await daemon.link.call(daemon.node_name, Inspect(spec, seconds))
    except UsageError as error:
        problems = [
            Problem(job.file.path, job.resolved.line_in(one), one) for one in error.message.splitlines()
        ]
        raise JobFileError(problems) from None
    return answer.result


def _created(daemon: Daemon, caller: Caller, jobs: list[Job], notices: Sequence[str] = ()) -> web.Response:
    """`notices`: what the submitter should know of what was added to the files."""
    found = [daemon.board.json(job, caller) for job in jobs]
    return web.json_response({"jobs": found, "notices": list(notices)}, status=201)
