"""What supervisors write, read back strictly: record.json, exit.json, progress.json and the note in the lock.

Each function returns the value as it was written, or raises ValueError that says what is wrong with it: nothing
behind this border meets a missing field or another type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gpujobs.model import FINAL_STATES, Reason, State, StopReason


def process(value: Any, name: str) -> dict[str, int]:
    """`{"pid", "start_ticks"}`: both are needed to name a process."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r:.60}; expected a process")
    return {key: _integer(value, key, name, 1) for key in ("pid", "start_ticks")}


def record(value: Mapping[str, Any]) -> dict[str, Any]:
    """record.json."""
    group = value.get("cgroup")
    if group is not None and (not isinstance(group, str) or not Path(group).name.startswith("gpujobs-")):
        raise ValueError(f"cgroup is {group!r:.60}; expected the path of a group of ours, or null")
    return {
        "boot_id": _text(value, "boot_id"),
        "nonce": _text(value, "nonce", ""),
        "state_id": _text(value, "state_id", ""),
        "supervisor": process(value.get("supervisor"), "supervisor"),
        "trainer": process(value.get("trainer"), "trainer"),
        "cgroup": group,
        "started_at": _instant(value, "started_at"),
        "hears_wishes": value.get("hears_wishes") is True,
    }


def exit_record(value: Mapping[str, Any]) -> dict[str, Any]:
    """exit.json."""
    state = State(str(value.get("state")))
    if state not in FINAL_STATES:
        raise ValueError(f"state is {state}; expected the state of a job that has ended")
    Reason(value.get("reason", ""))
    if value.get("stopped_for") is not None:
        StopReason(value["stopped_for"])
    ended = value.get("exit")
    if not isinstance(ended, dict):
        raise ValueError(f"exit is {ended!r:.60}; expected code and signal")
    for key in ("code", "signal"):
        if ended.get(key) is not None:
            _integer(ended, key, "exit", 0)
    for key in ("started_at", "running_at", "ended_at"):
        if value.get(key) is not None:
            _instant(value, key)
    for key in ("message", "nonce", "state_id"):
        _text(value, key, "")
    if value.get("progress") is not None:
        progress(value["progress"])
    return dict(value)


def progress(value: Any) -> dict[str, float | int | None]:
    """progress.json: numbers by name."""
    if not isinstance(value, dict):
        raise ValueError(f"progress is {value!r:.60}; expected numbers by name")
    for name, number in value.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            raise ValueError(f"progress: {name} is {number!r:.60}; expected a number")
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"progress: {name} is {number}; expected a finite number")
    return value


def spec(value: Mapping[str, Any]) -> dict[str, Any]:
    """As much of spec.json as the agent needs: whose attempt it is."""
    identity = value.get("identity")
    if identity is not None and not (isinstance(identity, dict) and isinstance(identity.get("uid"), int)):
        raise ValueError(f"identity is {identity!r:.60}; expected a uid and groups, or null")
    for key in ("job", "attempt"):
        _integer(value, key, "spec", 1)
    return {**value, "nonce": _text(value, "nonce", ""), "state_id": _text(value, "state_id", "")}


def _integer(value: Mapping[str, Any], key: str, name: str, least: int) -> int:
    number = value.get(key)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 1 << 63:
        raise ValueError(f"{name}: {key} is {number!r:.60}; expected an integer of at least {least}")
    return number


def _text(value: Mapping[str, Any], key: str, default: str | None = None) -> str:
    text = value.get(key, default)
    if not isinstance(text, str):
        raise ValueError(f"{key} is {text!r:.60}; expected text")
    return text


def _instant(value: Mapping[str, Any], key: str) -> str:
    text = _text(value, key)
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{key} is {text}; expected an instant with its zone")
    return text
