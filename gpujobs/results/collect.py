"""Reading what a trainer has written, without trusting what it is.

The directory belongs to the job's user, who may put links, pipes or other people's files into it at any
moment. So it is walked by descriptors, nothing is followed, and only regular files that the user owns alone
are read.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpujobs.errors import GpujobsError

CHUNK_BYTES = 8 << 20

LOG_NAME = re.compile(r"log(-\d+)?\.txt")
"""What the logs are called among the results."""


class RefusedResultError(GpujobsError):
    """A result that is not a plain file of its user's."""

    code = "error"


@dataclass(frozen=True, slots=True)
class Limits:
    """`entries` counts files and directories."""

    entries: int = 10_000
    depth: int = 4
    total_bytes: int = 20 << 30


def chunks(
    directory: Path, owners: frozenset[int], limits: Limits | None = None
) -> Iterator[tuple[str, bytes]]:
    """(name relative to `directory`, bytes), the chunks of a file in order; an empty file gives one
    empty chunk. Raises RefusedResultError that names the file and what is wrong with it."""
    root = _open(str(directory), None, "the directory of results", os.O_DIRECTORY)
    try:
        yield from _Walk(owners, limits or Limits()).directory(root, "", 0)
    finally:
        os.close(root)


class _Walk:
    def __init__(self, owners: frozenset[int], limits: Limits) -> None:
        self._owners = owners
        self._limits = limits
        self._entries = 0
        self._bytes = 0

    def directory(self, descriptor: int, prefix: str, depth: int) -> Iterator[tuple[str, bytes]]:
        if depth > self._limits.depth:
            raise RefusedResultError(f"{prefix}: more than {self._limits.depth} directories deep")
        for name in self._names(descriptor):
            label = f"{prefix}{name}"
            _check_name(label)
            if stat.S_ISDIR(_mode(name, descriptor, label)):
                inner = _open(name, descriptor, label, os.O_DIRECTORY)
                try:
                    yield from self.directory(inner, f"{label}/", depth + 1)
                finally:
                    os.close(inner)
            else:
                yield from self._file(name, descriptor, label)

    def _names(self, descriptor: int) -> list[str]:
        with os.scandir(descriptor) as found:
            names = [entry.name for entry in itertools.islice(found, self._limits.entries + 1)]
        self._entries += len(names)
        if self._entries > self._limits.entries:
            raise RefusedResultError(f"there are more than {self._limits.entries} result files")
        return sorted(names)

    def _file(self, name: str, directory: int, label: str) -> Iterator[tuple[str, bytes]]:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
        descriptor = _open(name, directory, label, os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            self._check(os.fstat(descriptor), label)
            first = True
            while (chunk := file.read(CHUNK_BYTES)) or first:
                first = False
                self._bytes += len(chunk)
                if self._bytes > self._limits.total_bytes:
                    raise RefusedResultError(f"the results are larger than {self._limits.total_bytes} bytes")
                yield label, chunk

    def _check(self, status: os.stat_result, label: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise RefusedResultError(f"{label} is not a regular file")
        if status.st_uid not in self._owners or status.st_nlink != 1:
            raise RefusedResultError(f"{label} is not a file of the job's user alone")


def _check_name(label: str) -> None:
    """It goes into the store, into JSON and to terminals."""
    if not label.isprintable():
        raise RefusedResultError(f"{label!a} is not a name of printable characters")
    if LOG_NAME.fullmatch(label):
        raise RefusedResultError(f"{label} is the name of a log; no result may have it")


def _mode(name: str, directory: int, label: str) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError as error:
        raise RefusedResultError(f"{label} cannot be collected: {error.strerror}") from error


def _open(name: str, directory: int | None, label: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    except OSError as error:
        raise RefusedResultError(f"{label} cannot be collected: {error.strerror}") from error
