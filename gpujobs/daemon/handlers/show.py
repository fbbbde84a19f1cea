"""`GET /v1/jobs/ID`: everything about one job."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gpujobs.daemon.access.policy import may_look_into, require
from gpujobs.daemon.api_json import attempt_json, event_json
from gpujobs.daemon.keys import JOB_QUERIES, caller_of
from gpujobs.model import Job, State, iso
from gpujobs.results.catalogue import read_metrics
from gpujobs.results.ranking import evaluation_lines


def _evaluation(job: Job) -> list[str]:
    """How good its model is, in the data's own units; its user may have made the file large, or slow to read."""
    return [] if job.results is None else evaluation_lines(read_metrics(job.results, job.uid))


async def handle(request: web.Request) -> web.Response:
    """Not for everybody: a job file may say more than its user wants to be known."""
    queries, caller = request.app[JOB_QUERIES], caller_of(request)
    job = queries.store.job(int(request.match_info["id"]))
    require(may_look_into, caller, job, "look into")
    if job.state is State.PENDING:
        await queries.forecast.fresh()
    spec, asked = queries.store.spec(job.id), job.demand
    attempts = queries.store.attempts(job.id)
    uses = [queries.uses.of(job, attempt, spec.resolved) for attempt in attempts]
    evaluation = await asyncio.to_thread(_evaluation, job)
    return web.json_response(
        {
            "job": queries.json(job, caller),
            "time_limit_seconds": asked.time_limit_seconds,
            "begin_at": iso(asked.begin_at),
            "after": list(asked.awaits.after),
            "after_any": list(asked.awaits.after_any),
            "after_failed": list(asked.awaits.after_failed),
            "after_groups": sorted(set(asked.awaits.groups.values())),
            "origin": job.origin,
            "at_most": asked.at_most,
            "finish": job.finish,
            "gpu_memory": asked.gpu_memory,
            "gpu": asked.requested_gpu,
            "nodes": list(asked.nodes),
            "gpu_name": asked.gpu_name,
            "preemptible": asked.preemptible,
            "retries": job.retries,
            "retries_used": job.retries_used,
            "path": spec.path,
            "evaluation": evaluation,
            "spec": spec.resolved,
            "source": spec.source,
            "device_use": uses[-1] if uses else None,
            "attempts": [
                {**attempt_json(attempt), "device_use": use}
                for attempt, use in zip(attempts, uses, strict=True)
            ],
            "events": [event_json(event) for event in queries.store.events(job.id)],
            "data": [
                {"path": d.path, "sha256": d.sha256, "bytes": d.bytes, "in_place": d.in_place}
                for d in queries.store.data(job.id)
            ],
        }
    )
