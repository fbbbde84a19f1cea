"""Files that survive a power cut: written whole or not at all, on the disk when the call returns, read back strictly.

Standard library only, for the daemon, the agent, the supervisor and the trainer alike. Whoever reads finds a file of
an earlier or a later moment, or none: what is there and cannot be what was written is a `DamagedError`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpujobs.failpoints import reach

MAX_BYTES = 64 << 20
"""More than any file that is read with `read`; a spec holds a job file of 1 MiB at most."""

HOLDER_BYTES = 1023

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})
"""Errors of this moment, which say nothing of the file."""


class DamagedError(Exception):
    """What is at `path` cannot be what was written there."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.path, self.why = path, why


# Writing


def write(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replaces what is at `path`, a directory too, by a file of mode 0600."""
    temporary = path.with_name(f"{path.name}.tmp")
    _clear(temporary)
    _write_new(temporary, content, durable)
    if durable:
        reach(f"durable.{path.name}")
    try:
        temporary.replace(path)
    except IsADirectoryError:
        set_aside(path)
        temporary.replace(path)
    if durable:
        sync_directory(path.parent)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    write(path, json.dumps(value).encode(), durable=durable)


def create(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Makes a file that was not there; whoever sees it sees all of it. Raises FileExistsError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    _clear(temporary)
    _write_new(temporary, content, durable)
    reach(f"durable.{path.name}")
    try:
        os.link(temporary, path, follow_symlinks=False)
    finally:
        temporary.unlink()
    if durable:
        sync_directory(path.parent)


def rename(source: Path, target: Path) -> None:
    """As os.rename, and on the disk when it returns."""
    source.rename(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def put_in_place(finished: Path, target: Path) -> None:
    """Replaces `target` by a file beside it that somebody else has written."""
    with finished.open("rb") as file:
        os.fsync(file.fileno())
    finished.replace(target)
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """The directories below `root`, and itself; the files in them were written durably."""
    for directory, _, _ in os.walk(root):
        sync_directory(Path(directory))


def copy(source: Path, target: Path) -> None:
    """Replaces `target` by a durable copy of `source`."""
    temporary = target.with_name(f"{target.name}.tmp")
    shutil.copyfile(source, temporary)
    put_in_place(temporary, target)


def set_aside(path: Path, ending: str = "damaged") -> Path:
    """Gives what is at `path`, whatever it is, another name beside it, which is returned."""
    number = 1
    while os.path.lexists(
        target := path.with_name(f"{path.name}.{ending}{'' if number == 1 else f'-{number}'}")
    ):
        number += 1
    path.rename(target)
    sync_directory(path.parent)
    return target


def make_way(path: Path) -> None:
    """A directory, or a link, where a file or a socket of ours belongs is kept aside."""
    if path.is_symlink() or path.is_dir():
        set_aside(path)


def _write_new(path: Path, content: bytes, durable: bool) -> None:
    try:
        with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # a full disk is not to be kept full by halves
        raise


def _clear(temporary: Path) -> None:
    """What an earlier writer, who was killed, has left."""
    try:
        temporary.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        set_aside(temporary)


# Reading


def read(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """The content of a regular file; None where nothing is there. Raises DamagedError for anything else."""
    try:
        descriptor = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _judged(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedError(path, "is not a regular file")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            content = b"".join(_chunks(file, limit))
        except OSError as error:
            raise _judged(path, error) from error
    if len(content) > limit:
        raise DamagedError(path, f"has more than {limit} bytes")
    return content


def _chunks(file: Any, limit: int) -> Iterator[bytes]:
    left = limit + 1
    while left > 0 and (chunk := file.read(min(left, 1 << 20))):
        left -= len(chunk)
        yield chunk


def _judged(path: Path, error: OSError) -> Exception:
    if error.errno in _PASSING:
        return error
    return DamagedError(
        path, "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    )


def entries(directory: Path) -> list[Path]:
    """What is in it, sorted; nothing where there is no such directory."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file. Raises DamagedError."""
    content = read(path)
    if content is None:
        return None
    if not content.strip(b"\0 \n"):
        raise DamagedError(path, "is empty" if not content else "holds nothing but zeros")
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"is not whole JSON: {error}") from error
    if not isinstance(value, dict):
        raise DamagedError(path, f"holds a {type(value).__name__}; expected a JSON object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


# Locks


def lock(path: Path) -> int:
    """Waits for the lock, and returns the descriptor that holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def note_holder(descriptor: int, holder: Mapping[str, Any]) -> None:
    """Says in the locked file who holds it, for those who find it locked. Of one length, so that a later note
    needs no more room on a disk that is full."""
    os.pwrite(descriptor, json.dumps(holder).encode().ljust(HOLDER_BYTES) + b"\n", 0)


def is_locked(path: Path) -> bool:
    """Whether a process that lives holds the lock."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
