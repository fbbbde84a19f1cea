"""Reading the central store of results.

The files were written by trainers and belong to users, who may exchange them at any moment. So nothing here
is opened by a path that could lead elsewhere, and nothing is deserialised but the JSON of metrics, whose
size is limited.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from gpujobs.errors import NotFoundError, UsageError
from gpujobs.paths import RESULT_MARK

MAX_METRICS_BYTES = 4 << 20
MAX_FILES, MAX_DEPTH = 10_000, 4
"""As many as are collected; what its owner adds beyond them is not shown."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe, or a file with a lease on it, must not wait for anybody.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def gone(directory: str) -> str | None:
    """That there is no such directory any more, in words; None where there is one."""
    with contextlib.suppress(OSError), _directory(directory):
        return None
    return f"there is no directory {directory} any more: it was removed or moved, or its disk is not mounted"


def list_files(directory: str) -> list[tuple[str, int]]:
    """(name relative to `directory`, bytes) of its regular files, sorted; at most MAX_FILES of them."""
    with contextlib.suppress(OSError), _directory(directory) as root:
        files = (file for file in _files_below(root, "", MAX_DEPTH) if file[0] != RESULT_MARK)
        return sorted(itertools.islice(files, MAX_FILES))
    return []


@contextlib.contextmanager
def _directory(name: str, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _files_below(descriptor: int, prefix: str, depth: int) -> Iterator[tuple[str, int]]:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            # What vanishes meanwhile, or cannot be opened, is left out.
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield prefix + entry.name, status.st_size
                elif stat.S_ISDIR(status.st_mode) and depth > 0:
                    with _directory(entry.name, descriptor) as inner:
                        yield from _files_below(inner, f"{prefix}{entry.name}/", depth - 1)


def open_file(directory: str, name: str, uid: int) -> BinaryIO:
    """Opens a file of a result. No component of `name` may be a link, and the file must be regular
    and `uid`'s (or the daemon's), so that nothing else of the machine can be read through it.

    Raises UsageError where there is no such file.
    """
    missing = NotFoundError(f"{name} does not exist among the results in {directory}")
    parts = name.split("/")
    if not all(parts) or any(part in (".", "..") or "\0" in part for part in parts):
        raise missing
    try:
        descriptor = _open_within(directory, parts)
    except OSError:
        if why := gone(directory):
            raise NotFoundError(why) from None
        raise missing from None
    status = os.fstat(descriptor)
    has_other_name = status.st_nlink > 1  # none: another has taken its place since
    if not stat.S_ISREG(status.st_mode) or has_other_name or status.st_uid not in (uid, os.geteuid()):
        os.close(descriptor)
        raise missing
    return os.fdopen(descriptor, "rb")


def _open_within(directory: str, parts: list[str]) -> int:
    with contextlib.ExitStack() as stack:
        current = stack.enter_context(_directory(directory))
        for part in parts[:-1]:
            current = stack.enter_context(_directory(part, current))
        return os.open(parts[-1], _FILE, dir_fd=current)


def read_metrics(directory: str, uid: int) -> dict[str, Any]:
    """metrics.json of a result of `uid`'s, or {} where it is missing or no JSON object."""
    try:
        with open_file(directory, "metrics.json", uid) as file:
            text = file.read(MAX_METRICS_BYTES + 1)
        metrics = json.loads(text) if len(text) <= MAX_METRICS_BYTES else {}
    except (UsageError, OSError, ValueError, RecursionError):
        return {}
    return metrics if isinstance(metrics, dict) else {}
