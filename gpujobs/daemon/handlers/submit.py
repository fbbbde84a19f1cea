"""`POST /v1/jobs` and `POST /v1/check`: job files come in."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gpujobs.backends import TENSORFLOW, backend_of
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.submissions import (
    Needs,
    Prepared,
    SubmissionBody,
    check_backends,
    check_dependencies,
    check_devices,
    check_models,
    has_gpu,
    new_jobs,
    prepare,
    require_request_key,
    resolve,
)
from gpujobs.errors import JobFileError, Problem, UsageError
from gpujobs.model import Caller, Job


async def handle(request: web.Request) -> web.Response:
    daemon, caller = daemon_of(request), caller_of(request)
    body = await body_of(request, SubmissionBody)
    key = require_request_key(body)
    if earlier := daemon.store.of_request(caller.uid, key):
        return _created(daemon, earlier)
    prepared = await _prepare(daemon, caller, body)
    if isinstance(prepared, Needs):
        return web.json_response(prepared.to_wire())
    check_dependencies(daemon.store, body.options.after)
    jobs = daemon.store.submit(caller, key, new_jobs(prepared, body.options))
    daemon.submitted(jobs)
    return _created(daemon, jobs)


async def check(request: web.Request) -> web.Response:
    """Builds each model, in a process with the caller's rights, without queueing anything."""
    daemon, caller = daemon_of(request), caller_of(request)
    body = await body_of(request, SubmissionBody)
    prepared = await _prepare(daemon, caller, body)
    if isinstance(prepared, Needs):
        return web.json_response(prepared.to_wire())
    if any(job.resolved.trained_by is not None for job in prepared):
        raise UsageError(
            "check is for job files that train; this one applies a model that is trained already"
        )
    reports = [{"path": job.file.path, "report": await _inspect(daemon, caller, job)} for job in prepared]
    return web.json_response({"files": reports})


async def _prepare(daemon: Daemon, caller: Caller, body: SubmissionBody) -> list[Prepared] | Needs:
    resolved = resolve(body)
    if any(backend_of(job.resolved) != TENSORFLOW for _, job in resolved):
        check_backends(resolved, on_gpu=daemon.settings.require_gpu and has_gpu(await daemon.devices()))
    prepared = prepare(daemon.store, caller, resolved)
    if not isinstance(prepared, Needs) and any(p.resolved.requested_gpu is not None for p in prepared):
        check_devices(prepared, await daemon.devices())
    if not isinstance(prepared, Needs):
        check_models(daemon.store, caller, prepared)
    return prepared


async def _inspect(daemon: Daemon, caller: Caller, job: Prepared) -> dict[str, Any]:
    spec = daemon.specs.inspection(caller.uid, caller.gid, dict(job.resolved.resolved), job.data)
    answer: dict[str, Any] = await daemon.link.call(daemon.node_name, "inspect", task="check", spec=spec)
    if "error" in answer:
        raise JobFileError([Problem(job.file.path, None, str(answer["error"]["message"]))])
    return answer.get("result", answer)  # type: ignore[no-any-return]


def _created(daemon: Daemon, jobs: list[Job]) -> web.Response:
    return web.json_response({"jobs": [daemon.board.json(job) for job in jobs]}, status=201)
