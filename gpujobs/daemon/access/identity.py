"""Who asks: what the kernel says of the other end of the socket, never what a payload says."""

from __future__ import annotations

import array
import functools
import os
import pwd
import socket
import struct

from gpujobs.model import Caller

_UCRED = struct.Struct("3i")

SO_PEERGROUPS = 59
"""asm-generic/socket.h; Python's socket module has no name for it."""

_MAX_OPTION_BYTES = 1024
"""Of Python's getsockopt: room for 256 groups."""


def peer_of(connection: socket.socket) -> Caller:
    """SO_PEERCRED and SO_PEERGROUPS of a connection: those of its maker at the moment of connecting."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Caller(uid=uid, gid=gid, pid=pid, user=user_name(uid), groups=_groups_of(connection, uid, gid))


def _groups_of(connection: socket.socket, uid: int, gid: int) -> tuple[int, ...]:
    try:
        return tuple(
            array.array("I", connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _MAX_OPTION_BYTES))
        )
    except OSError:  # more than fit: then as a new login would have them
        return tuple(os.getgrouplist(user_name(uid), gid))


def user_name(uid: int) -> str:
    try:
        return _known_name(uid)
    except KeyError:
        return str(uid)


@functools.lru_cache(maxsize=1024)
def _known_name(uid: int) -> str:
    """That there is none is not remembered: a directory service may have been away."""
    return pwd.getpwuid(uid).pw_name
