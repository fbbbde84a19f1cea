"""`GET /v1/jobs` and `GET /v1/jobs/ID`: the queue, and everything about one job."""

from __future__ import annotations

from aiohttp import web

from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.handlers.query import chosen_of, flag_of, number_of
from gpujobs.daemon.identity import require_owner
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.references import Chosen
from gpujobs.daemon.wire import attempt_json, event_json
from gpujobs.errors import UsageError
from gpujobs.model import Job, State

DISPLAY_ORDER = {State.RUNNING: 0, State.STARTING: 0, State.COMPLETING: 0, State.PENDING: 1}
"""Ended jobs come first (they are the oldest), then the running, then the waiting ones in their turn."""


async def list_jobs(request: web.Request) -> web.Response:
    daemon, caller = daemon_of(request), caller_of(request)
    jobs = selected(daemon, request, chosen_of(request))
    limit = number_of(request, "limit", 0) or len(jobs)
    shown = [daemon.board.json(job, caller) for job in jobs[:limit]]
    return web.json_response({"jobs": shown, "total": len(jobs)})


def selected(daemon: Daemon, request: web.Request, chosen: Chosen | None) -> list[Job]:
    """Those of `chosen`, or of the queue, that `user`, `state` and `all` ask for."""
    user, states = request.query.get("user"), _states(request)
    if chosen is not None:
        return [job for job in chosen.jobs if _matches(job, user, states)]
    unfinished = [job for job in daemon.board.jobs.values() if _matches(job, user, states)]
    unfinished.sort(key=lambda job: (DISPLAY_ORDER[job.state], -job.priority, job.id))
    wants_ended = flag_of(request, "all") or any(state.is_final for state in states)
    return (daemon.store.ended(user=user, states=states) if wants_ended else []) + unfinished


def _matches(job: Job, user: str | None, states: frozenset[State]) -> bool:
    return (user is None or job.user == user) and (not states or job.state in states)


def _states(request: web.Request) -> frozenset[State]:
    text = request.query.get("state")
    if not text:
        return frozenset()
    try:
        return frozenset(State(name.strip().upper()) for name in text.split(","))
    except ValueError:
        raise UsageError(f"--state {text}: expected states out of {', '.join(State)}") from None


async def show(request: web.Request) -> web.Response:
    """For its owner: a job file may say more than its user wants to be known."""
    daemon, caller = daemon_of(request), caller_of(request)
    job = daemon.store.job(int(request.match_info["id"]))
    require_owner(caller, job, "look into")
    spec = daemon.store.spec(job.id)
    return web.json_response(
        {
            "job": daemon.board.json(job, caller),
            "path": spec.path,
            "spec": spec.resolved,
            "source": spec.source,
            "attempts": [attempt_json(attempt) for attempt in daemon.store.attempts(job.id)],
            "events": [event_json(event) for event in daemon.store.events(job.id)],
            "data": [
                {"path": d.path, "sha256": d.sha256, "bytes": d.bytes, "in_place": d.in_place}
                for d in daemon.store.data(job.id)
            ],
        }
    )
