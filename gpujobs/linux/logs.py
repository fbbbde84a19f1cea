"""Logs of our own processes, which have a limit: who writes appends, so nobody need be told when one begins anew."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

LAST_BYTES, MAX_CHARACTERS = 4096, 500
"""Of a log's end, and of its last line, that are looked at."""


def limit(paths: Iterable[Path], limit_bytes: int) -> None:
    """Each that has grown beyond the limit begins anew; its end is kept beside it."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > limit_bytes:
                _begin_anew(path, limit_bytes)


def _begin_anew(path: Path, keep_bytes: int) -> None:
    older = path.with_name(f"{path.name}.1")
    with path.open("r+b") as file, older.open("wb") as kept:
        older.chmod(0o600)
        file.seek(-keep_bytes, os.SEEK_END)
        shutil.copyfileobj(file, kept, 1 << 20)
        file.truncate(0)


def size_of(path: Path) -> int:
    """0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def last_line(path: Path, since: int) -> str:
    """The last that says something of what was written after the first `since` bytes; empty where nothing was. All of
    a log that has begun anew was written since."""
    try:
        size = size_of(path)
        with path.open("rb") as file:
            file.seek(max(since if since <= size else 0, size - LAST_BYTES))
            lines = file.read(LAST_BYTES).decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:MAX_CHARACTERS]
