"""Who asks: what the kernel says of the other end of the socket, never what a payload says."""

from __future__ import annotations

import functools
import os
import pwd
import socket
import struct

from aiohttp import web

from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller, Job

_UCRED = struct.Struct("3i")


def caller_of(request: web.Request) -> Caller:
    """SO_PEERCRED of the request's connection: the uid at the moment of connecting."""
    transport = request.transport
    if transport is None:
        raise NotPermittedError("the connection was closed")
    connection = transport.get_extra_info("socket")
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Caller(uid=uid, gid=gid, pid=pid, user=user_name(uid))


@functools.lru_cache(maxsize=1024)
def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def admit(caller: Caller, mode: str) -> None:
    """A personal daemon serves the user that it runs as, and nobody else."""
    if mode != "site" and caller.uid != os.geteuid():
        raise NotPermittedError(
            f"this is the personal daemon of {user_name(os.geteuid())}; "
            "ask the administrator for a site daemon, or run `gpujobs serve` of your own"
        )


def may_act_on(caller: Caller, job: Job) -> bool:
    """Owners and root: they may read what a job says and produces, and change it."""
    return caller.uid in (job.uid, 0)


def require_owner(caller: Caller, job: Job, verb: str) -> None:
    if not may_act_on(caller, job):
        raise NotPermittedError(f"job {job.id} belongs to {job.user}; {caller.user} may not {verb} it")
