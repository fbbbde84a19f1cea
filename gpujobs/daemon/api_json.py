"""Values as the JSON of docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gpujobs.model import Attempt, Caller, Event, Group, Job, Node, Reason, State, iso
from gpujobs.policy import Occupancy, PendingReason, Reservation
from gpujobs.policy.devices.reservations import ReservationWindow
from gpujobs.store.devices import DeviceEvent

PUBLIC_PROGRESS = ("epoch", "epochs", "eta_seconds")
"""How far a job is, without how well it does."""

NAMING_EVENTS = ("reserved", "stranger")
"""Of a device: their messages may name people."""


def job_json(
    job: Job,
    wait: PendingReason | None,
    progress: Mapping[str, Any] | None,
    expected_start: datetime | None,
    *,
    is_named: bool = True,
    shows_sweep: bool,
) -> dict[str, Any]:
    """`wait` is the policy's latest word on a PENDING job, `progress` the latest of a running one,
    `expected_start` when a waiting one will probably start.
    Without `is_named`, what tells whose job it is and what it is about is null. What a sweep sets stands in
    the job file, which is not for everybody."""
    current = job.current
    pending = job.state is State.PENDING
    alive = job.state in (State.STARTING, State.RUNNING)
    shown = None if pending or current is None else current
    whole = {
        "id": job.id,
        "name": job.name,
        "user": job.user,
        "state": job.state,
        "reason": wait.reason if wait and pending else job.reason,
        "message": wait.message if wait and pending else job.message,
        "priority": job.demand.priority,
        "submitted_at": iso(job.submitted_at),
        "started_at": iso(job.started_at),
        "ended_at": iso(job.ended_at),
        "node": shown.node if shown else None,
        "pid": shown.pid if shown and alive else None,
        "device": device_json(shown) if shown else None,
        "attempt": job.attempt,
        "progress": progress if progress is not None else job.progress,
        "expected_start": iso(expected_start),
        "exit": exit_json(shown) if shown else None,
        "results": job.results,
        "results_removed_at": iso(job.results_removed_at),
        "group": job.group,
        "group_id": job.group_id,
        "sweep": job.sweep_values if shows_sweep else None,
        "held": job.held,
        "share": job.share,
    }
    return whole if is_named else _without_names(whole)


def _without_names(job: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "user", "group", "message", "pid", "results", "share")
    progress = job["progress"] and {key: job["progress"].get(key) for key in PUBLIC_PROGRESS}
    return {**job, **dict.fromkeys(names), "progress": progress}


def group_json(
    group: Group, progress: float, wait: PendingReason | None, *, is_named: bool = True
) -> dict[str, Any]:
    """`progress` goes from 0 to 1; `wait` is why the first of its PENDING jobs waits; `is_named` as for jobs."""
    shown = wait if wait is not None and group.state is State.PENDING else PendingReason(Reason.NONE, "")
    return {
        "id": group.id,
        "name": group.name if is_named else None,
        "user": group.user if is_named else None,
        "state": group.state,
        "reason": shown.reason,
        "message": shown.message if is_named else None,
        "jobs": group.size,
        "counts": dict(group.counts),
        "progress": progress,
        "submitted_at": iso(group.submitted_at),
        "started_at": iso(group.started_at),
        "ended_at": iso(group.ended_at),
    }


def device_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "kind": attempt.device_kind,
        "index": attempt.device_index,
        "uuid": attempt.device_uuid,
        "name": attempt.device_name,
    }


def exit_json(attempt: Attempt) -> dict[str, int | None] | None:
    if attempt.exit_code is None and attempt.exit_signal is None:
        return None
    return {"code": attempt.exit_code, "signal": attempt.exit_signal}


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "node": attempt.node,
        "device": device_json(attempt),
        "started_at": iso(attempt.started_at),
        "running_at": iso(attempt.running_at),
        "ended_at": iso(attempt.ended_at),
        "pid": attempt.pid,
        "reason": attempt.reason,
        "message": attempt.message,
        "exit": exit_json(attempt),
        "trainer_of": (attempt.exit_record or {}).get("trainer_of"),
    }


def event_json(event: Event) -> dict[str, Any]:
    return {
        "at": iso(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "attempt": event.attempt,
        "from": event.from_state,
        "to": event.to_state,
        "reason": event.reason,
        "message": event.message,
    }


def occupancy_json(view: Occupancy, caller: Caller) -> dict[str, Any]:
    """A device of `gpus --json`, as `caller` may see it."""
    device = view.device
    return {
        "node": device.node,
        "kind": device.kind,
        "index": device.index,
        "uuid": device.uuid,
        "name": device.name,
        "memory_total_bytes": device.memory_total_bytes,
        "memory_used_bytes": device.memory_used_bytes,
        "utilization_percent": device.utilization_percent,
        "temperature_celsius": device.temperature_celsius,
        "power_watts": device.power_watts,
        "state": view.state,
        "message": view.message,
        "drained": view.drained,
        "jobs": list(view.jobs),
        "reserved": [term_json(hold, caller) for hold in view.terms],
        "foreign": [
            {
                "pid": process.pid,
                "user": process.user,
                "memory_bytes": process.memory_bytes,
                "command": process.command,
                "kind": process.kind,
                "since": None if process.since is None else iso(datetime.fromtimestamp(process.since, UTC)),
            }
            for process in view.foreign
        ],
    }


def term_json(term: ReservationWindow | Reservation, caller: Caller) -> dict[str, Any]:
    """For whom and when, without the name of somebody else where the site hides names."""
    is_named = caller.sees_names or term.user == caller.user
    return {
        "user": term.user if is_named else None,
        "group": term.group if is_named else None,
        "starts_at": iso(term.starts_at),
        "ends_at": iso(term.ends_at),
    }


def device_event_json(event: DeviceEvent, caller: Caller) -> dict[str, Any]:
    """Without a message that may name people, where the site hides names."""
    is_hidden = not caller.sees_names and event.kind in NAMING_EVENTS
    return {
        "device": event.device,
        "at": iso(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "message": "" if is_hidden else event.message,
    }


def nodes_json(nodes: Sequence[Node]) -> list[dict[str, str | None]]:
    return [
        {"name": node.name, "status": node.status, "message": node.message, "since": iso(node.since)}
        for node in nodes
    ]
