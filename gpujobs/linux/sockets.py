"""UNIX sockets at paths that may be longer than the kernel's 107 bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpujobs.linux import durable


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A short name of `path`, through a descriptor of its directory."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A stream socket at `path`, mode 0600; a stale one is replaced. Whoever sees it is not refused: it gets its
    name when it listens already."""
    fresh = path.with_name(f"{path.name}.new")
    durable.make_way(path)
    durable.make_way(fresh)
    fresh.unlink(missing_ok=True)
    listener = private_socket()
    with short_path(fresh) as name:
        listener.bind(name)
    listener.listen(128)
    fresh.rename(path)
    return listener


def private_socket() -> socket.socket:
    """A stream socket whose name has mode 0600 from its first moment: Linux gives the name the mode of the socket.
    Not by the umask, which all threads of a process share."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(made.fileno(), 0o600)
    return made


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


class Notifier:
    """Datagrams to the agent, which are lost without harm when nobody listens."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @property
    def directory(self) -> Path | None:
        return None if self._path is None else self._path.parent

    def send(self, message: bytes) -> None:
        if self._path is None:
            return
        try:
            with short_path(self._path) as name:
                self._socket.sendto(message, name)
        except OSError:
            return
