"""The data files of a job, each opened once: what is hashed is what is read."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from dataclasses import replace

from gpujobs.protocol.spec import AttemptSpec, DataFile
from gpujobs.trainer.failures import DataError

RESERVED_FILES = 512
"""What a trainer opens beside its data."""

OPEN = "/proc/self/fd/"


def pin(spec: AttemptSpec) -> AttemptSpec:
    """The spec with each data path replaced by a name of an open descriptor, whose content is as submitted.

    Nobody can put another file in between the check and the reading. The descriptors stay open until the
    trainer ends, or `release`. Raises DataError where a file is not the one that was submitted.
    """
    make_room(len(spec.data))
    return replace(
        spec, data={name: replace(file, path=_open(name, file)) for name, file in spec.data.items()}
    )


def release(pinned: AttemptSpec) -> None:
    """Closes what `pin` has opened."""
    for file in pinned.data.values():
        os.close(int(file.path.removeprefix(OPEN)))


def make_room(count: int) -> None:
    """For so many open files, where the limit can be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + RESERVED_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))


def _open(name: str, file: DataFile) -> str:
    # O_NONBLOCK: a pipe must not keep the device waiting for somebody to write into it.
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    try:
        _require(name, descriptor, file.sha256)
    except DataError:
        os.close(descriptor)
        raise
    return f"{OPEN}{descriptor}"


def _require(name: str, descriptor: int, sha256: str) -> None:
    """Raises DataError where it is not a regular file with this hash."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise DataError(f"{name}: is not a regular file")
    try:
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    if digest != sha256:
        raise DataError(
            f"{name}: its SHA-256 is {digest}; expected {sha256}, as it was submitted. Submit the job again."
        )
