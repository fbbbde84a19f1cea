"""Whether data that is used in place is on this box too: a child with the user's rights looks, who alone opens it.
What was found of a file is remembered by who asks, so that it is hashed once."""

from __future__ import annotations

import hashlib
import os
import signal
import stat

from gpujobs.linux import process, title
from gpujobs.protocol import codec
from gpujobs.protocol.launcher import Compared, CompareFiles
from gpujobs.protocol.spec import DataFile
from gpujobs.supervise import child, inspection, rights

BYTES_PER_SECOND = 50 << 20
"""That a slow disk reads: so long is waited for the hashes."""


def answer(asked: CompareFiles, connection: int) -> None:
    """In a process forked for it."""
    seconds = inspection.DEADLINE_SECONDS + sum(file.bytes for file in asked.files) / BYTES_PER_SECOND
    inspection.relay(lambda writer: _answer_as_user(asked, writer), connection, seconds)


def _answer_as_user(asked: CompareFiles, writer: int) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        child.connect_descriptors(null, writer)
        writer = child.MESSAGES_FD
        rights.become(asked.identity)
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        title.set_title("gpujobs data")
        reply = codec.encode(compared(asked))
    except BaseException as error:  # noqa: BLE001 - this process must never return into the launcher's code
        reply = codec.encode(Compared((repr(error),), ()))
    while reply:
        reply = reply[os.write(writer, reply) :]
    os._exit(0)


def compared(asked: CompareFiles) -> Compared:
    problems, seen = [], []
    for file in asked.files:
        try:
            mark = _compared(file, asked.known)
        except OSError as error:
            problems.append(f"{file.path}: {error.strerror or error}")
        else:
            seen.append(mark)
    return Compared(tuple(problems), tuple(seen))


def _compared(file: DataFile, known: tuple[str, ...]) -> str:
    """A mark of the file as it is now, and its hash. Raises OSError that says what is wrong with it."""
    # O_NONBLOCK: nobody is waited for who may write into a pipe.
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        if status.st_size != file.bytes:
            raise OSError(
                f"it has {status.st_size} bytes there; expected {file.bytes}, as on the daemon's box"
            )
        mark = f"{status.st_dev}.{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"
        mark = f"{mark}.{file.sha256}"
        if mark in known:
            return mark
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != file.sha256:
            raise OSError(f"its SHA-256 there is {digest}; expected {file.sha256}, as on the daemon's box")
        return mark
