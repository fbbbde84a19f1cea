"""Reading the central store of results.

The files were written by trainers and belong to users, so nothing here follows a link, and nothing
is deserialised but the JSON of metrics, whose size is limited.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from gpujobs.errors import UsageError

MAX_METRICS_BYTES = 4 << 20


def list_files(directory: str) -> list[tuple[str, int]]:
    """(name relative to `directory`, bytes) of its regular files, sorted."""
    root = Path(directory)
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((str(path.relative_to(root)), status.st_size))
    return sorted(found)


def open_file(directory: str, name: str, uid: int) -> BinaryIO:
    """Opens a file of a result. No component of `name` may be a link, and the file must be regular
    and `uid`'s (or the daemon's), so that nothing else of the machine can be read through it.

    Raises UsageError where there is no such file.
    """
    missing = UsageError(f"{name} does not exist among the results in {directory}")
    parts = name.split("/")
    if not all(parts) or any(part in (".", "..") for part in parts):
        raise missing
    current = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = inner
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=current)
    except OSError:
        raise missing from None
    finally:
        os.close(current)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid not in (uid, os.geteuid()):
        os.close(descriptor)
        raise missing
    return os.fdopen(descriptor, "rb")


def read_metrics(directory: str) -> dict[str, Any]:
    """metrics.json, or {} where it is missing or no JSON object."""
    path = Path(directory) / "metrics.json"
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_METRICS_BYTES:
            return {}
        metrics = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return metrics if isinstance(metrics, dict) else {}
