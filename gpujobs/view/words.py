"""What a row says: what a job does, or why it does not. Instants in it are UTC, for the drawer to put into the
reader's time zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gpujobs.states import GROUP_STATES, State

STATE_COLOURS = {
    "RUNNING": "green",
    "STARTING": "green",
    "COMPLETING": "green",
    "COMPLETED": "blue",
    "FAILED": "red",
    "TIMEOUT": "red",
    "OUT_OF_MEMORY": "red",
    "CANCELLED": "yellow",
}


def of_job(job: Mapping[str, Any]) -> str:
    """`job` as `GET /v1/jobs` has it."""
    if job.get("trouble"):
        return str(job["trouble"])
    if job.get("away_since"):
        return _last_known(job)
    done = job.get("progress")
    if job["state"] in ("RUNNING", "COMPLETING") and done:
        notice = f"; {job['notice']} too" if job.get("notice") else ""
        return _epochs(done) + notice
    reason, said = job.get("reason") or "", job.get("message") or ""
    return f"{reason}: {said}" if reason and said else reason or said


def _last_known(job: Mapping[str, Any]) -> str:
    """Of one that runs on a node that is away: which, stands beside it."""
    since = datetime.fromisoformat(job["away_since"]).astimezone(UTC)
    away = f"away since {since:%Y-%m-%d %H:%M} UTC"
    return f"{away}; last known: {_epochs(job['progress'])}" if job.get("progress") else away


def _epochs(done: Mapping[str, Any]) -> str:
    text = f"epoch {done.get('epoch', '?')}/{done.get('epochs', '?')}"
    text += f" eta {duration(done['eta_seconds'])}" if done.get("eta_seconds") else ""
    return text + (f" loss {done['loss']:.4g}" if done.get("loss") is not None else "")


def of_group(group: Mapping[str, Any]) -> str:
    """How far its jobs are, and why they wait where none of them runs."""
    why = f"; {of_job(group)}" if group["reason"] else ""
    return f"{100 * group['progress']:.0f}%: {counts(group['counts'])}{why}"


def counts(by_state: Mapping[str, int]) -> str:
    """`1 failed, 5 completed, 2 running`: first what has ended, last what waits."""
    states = sorted(map(State, by_state), key=lambda state: (not state.is_final, GROUP_STATES.index(state)))
    return ", ".join(f"{by_state[state]} {state.lower().replace('_', ' ')}" for state in states)


def duration(seconds: float | None) -> str:
    """3 s, 4:05, 2:03:04, 3d 02:00."""
    if seconds is None:
        return ""
    minutes, second = divmod(int(max(0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
