"""HTTP over a UNIX socket whose other end is known: the caller's own daemon, or root's."""

from __future__ import annotations

import http.client
import os
import socket
import struct
from pathlib import Path

from gpujobs.errors import NotPermittedError

MAX_SOCKET_PATH_BYTES = 107


class UnixConnection(http.client.HTTPConnection):
    """Raises NotPermittedError before a byte is sent where the server is neither the caller's nor root's."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = connected_socket(self.path)


def connected_socket(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _connect(sock, path)
        _check_peer(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


def answers(path: Path) -> bool:
    """Whether a daemon that the caller may talk to listens there."""
    try:
        connected_socket(path).close()
    except (OSError, NotPermittedError):
        return False
    return True


def _connect(sock: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        sock.connect(str(path))
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _check_peer(sock: socket.socket, path: Path) -> None:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    if uid not in (os.getuid(), 0):
        raise NotPermittedError(
            f"{path} is served by uid {uid}; expected your own daemon (uid {os.getuid()}) or root's. "
            "Nothing was sent; name another socket with --socket."
        )
