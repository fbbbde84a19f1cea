"""Logs of our own processes, which have a limit: who writes appends, so nobody need be told when one begins anew."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path


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
