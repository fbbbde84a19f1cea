"""The socket's name in the file system: taken when nobody answers there, taken again when it is gone, and given back
only as long as it is ours."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from gpujobs.errors import GpujobsError, MachineError, UsageError
from gpujobs.failpoints import reach
from gpujobs.linux.inotify import Watch
from gpujobs.linux.sockets import private_socket

BACKLOG = 1024

CONNECT_SECONDS = 1.0

LOCK_SECONDS = 2.0
"""That another daemon takes to bind in the same directory. Anybody may lock a directory, so that it is not waited for
longer."""

RETRY_SECONDS = 5.0
"""Until the place is tried again that could not be taken. Only after something has gone wrong."""

log = logging.getLogger(__name__)


class Door:
    """`places`: where to listen, in the order in which they are tried when the socket has been removed."""

    def __init__(self, places: Sequence[Path], *, is_open_to_all: bool) -> None:
        self._places = places
        self._is_open_to_all = is_open_to_all
        self._path = places[0]
        self._inode: tuple[int, int] | None = None

    def require_free(self) -> None:
        """Raises UsageError where a daemon answers, MachineError where something else is in the way."""
        _require_free(self._places[0])
        _require_writable(self._places[0].parent)

    def open(self) -> socket.socket:
        """At the first place, or not at all: raises as `require_free`, and where the place is not safe."""
        return self._listen(self._places[0])

    def close(self) -> None:
        """Removes the name, if it still leads to us."""
        if self._is_ours():
            self._path.unlink(missing_ok=True)
        self._inode = None

    async def keep(self, serve: Callable[[socket.socket], Awaitable[None]]) -> None:
        """Until it is cancelled: when the name is gone, listens again, and has `serve` answer there."""
        while True:
            if self._path == self._places[0]:
                await self._gone()
                log.warning("the socket %s is gone: somebody has removed or replaced it", self._path)
            await serve(await self._listen_again())

    async def _gone(self) -> None:
        """Returns when the name no longer leads to us."""
        try:
            watch = Watch(self._path)
        except OSError as error:
            log.warning("%s; looking every %g s whether the socket is there", error, RETRY_SECONDS)
            while self._is_ours():
                await asyncio.sleep(RETRY_SECONDS)
            return
        try:
            while self._is_ours():
                await watch.changed()
        finally:
            watch.close()

    async def _listen_again(self) -> socket.socket:
        """At another place than that which is ours, if one still is: the first one that can be had."""
        said: set[str] = set()
        while True:
            for path in self._places:
                if path == self._path and self._is_ours():
                    continue
                try:
                    listener = self._listen(path)
                except (GpujobsError, OSError) as error:
                    if str(error) not in said:
                        log.warning("cannot listen at %s yet: %s", path, error)
                    said.add(str(error))
                else:
                    log.warning("listening again, at %s", path)
                    return listener
            await asyncio.sleep(RETRY_SECONDS)

    def _is_ours(self) -> bool:
        return self._inode is not None and _inode(self._path) == self._inode

    def _listen(self, path: Path) -> socket.socket:
        """Binds, in the place of what a killed daemon has left (the caller holds the state's lock). A site daemon's
        socket is open to everybody, since the kernel says who asks."""
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o755 if self._is_open_to_all else 0o700)
        # Of mode 0600 from the kernel: between bind and chmod nobody else can connect.
        listener = private_socket()
        try:
            with _locked(path.parent) as directory:
                _require_safe(path.parent, os.fstat(directory), 0o022 if self._is_open_to_all else 0o002)
                _require_free(path)  # under the lock: a second daemon may have bound since the first look
                path.unlink(missing_ok=True)
                reach("door.bind")
                # Through the open directory, since a socket's path may have 107 bytes only.
                name = f"/proc/self/fd/{directory}/{path.name}"
                listener.bind(name)
                if self._is_open_to_all:
                    Path(name).chmod(0o666)
                listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        listener.setblocking(False)
        if self._is_ours():  # the other place, which is left for this one
            self._path.unlink(missing_ok=True)
        self._path, self._inode = path, _inode(path)  # last: `close` removes only what is ours by then
        return listener


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """So that of two daemons that find the same dead socket one takes it, and the other finds that one."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.02)
        yield descriptor
    finally:
        os.close(descriptor)


def _require_free(path: Path) -> None:
    try:
        status = path.lstat()
    except OSError:
        return  # what is wrong with its directory is said when it is bound
    if not stat.S_ISSOCK(status.st_mode):
        raise MachineError(
            f"{path} is there and is no socket; choose another place with --socket, or move it away"
        )
    if (pid := _answering(path)) is not None:
        raise UsageError(
            f"a daemon (pid {pid or 'unknown'}) answers at {path} already; `gpujobs --socket {path} stop` ends it, "
            "or choose another place with --socket"
        )


def _require_writable(directory: Path) -> None:
    if os.access(directory, os.F_OK) and not os.access(directory, os.W_OK | os.X_OK):
        raise MachineError(
            f"{directory} cannot be written, and the socket is made there; choose another place with --socket "
            "or GPUJOBS_SOCKET"
        )


def _answering(path: Path) -> int | None:
    """The pid of who listens there, 0 where that is not known, None where nobody does."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(CONNECT_SECONDS)
            asking.connect(f"/proc/self/fd/{directory}/{path.name}")
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", credentials)[0])
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except OSError:  # it is closed to us, or too busy to answer: somebody is there
        return 0
    finally:
        os.close(directory)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    # A name says nothing: somebody may have bound another socket under it. Device and inode are of ours alone.
    return status.st_dev, status.st_ino


def _require_safe(path: Path, status: os.stat_result, forbidden: int) -> None:
    """Whoever can exchange the socket can keep all others from the daemon."""
    is_open = status.st_mode & forbidden and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in (0, os.geteuid()) or is_open:
        raise MachineError(
            f"{path} can be changed by others than this daemon's user; "
            "choose another place for the socket with --socket"
        )
