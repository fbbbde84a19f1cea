"""What a supervisor believes of its trainer's messages: their shape is checked, their size limited.

A trainer reads what users wrote, and a crafted file may have taken it over. What it says goes into the store
and to other people's terminals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_LINE_BYTES = 65536
MAX_METRICS = 200
MAX_NAME_LENGTH = 200
MAX_TEXT_LENGTH = 2000
MAX_WARNINGS = 20
"""Of one attempt: each becomes a row of the store."""


def parse(line: bytes) -> Mapping[str, Any]:
    """A message as a mapping; empty where it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def progress_of(message: Mapping[str, Any]) -> dict[str, float | int | None] | None:
    """`progress`: finite numbers by name, others are None; itself None where there is no progress in it."""
    progress = message.get("progress")
    if not isinstance(progress, dict):
        return None
    named = [(name, value) for name, value in progress.items() if name.isprintable()]
    return {name[:MAX_NAME_LENGTH]: _number(value) for name, value in named[:MAX_METRICS]}


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and abs(value) < 1 << 62 else None


def error_of(message: Mapping[str, Any]) -> dict[str, str] | None:
    """`error`: its reason and message as printable text."""
    error = message.get("error")
    if not isinstance(error, dict):
        return None
    return {key: _text(error.get(key, "")) for key in ("reason", "message")}


def warning_of(message: Mapping[str, Any]) -> str | None:
    """`warning`: printable text for the job's history."""
    warning = message.get("warning")
    return _text(warning) if isinstance(warning, str) else None


def _text(value: Any) -> str:
    """Without what no UTF-8 can hold, such as a lone surrogate."""
    return str(value)[:MAX_TEXT_LENGTH].encode(errors="replace").decode()
