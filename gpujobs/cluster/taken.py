"""Ports that Ray is to have, and that somebody else has: said in words, before Ray says it in its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

import psutil

from gpujobs.cluster.ports import Ports
from gpujobs.errors import MachineError
from gpujobs.printing import one_line

LINGER_SECONDS = 3.0
"""What was killed a moment ago may have its ports still."""

PURPOSES = {
    "gcs": "Ray's GCS",
    "raylet": "Ray's raylet",
    "object_manager": "Ray's object manager",
    "runtime_env": "Ray's runtime environments",
    "dashboard_agent": "Ray's agent, over HTTP",
    "dashboard_agent_grpc": "Ray's agent",
    "metrics": "Ray's metrics",
    "client": "Ray's clients",
}
ON_A_NODE = tuple(name for name in PURPOSES if name not in ("gcs", "client"))


async def require_free(ports: Ports, names: Iterable[str], remedy: str) -> None:
    """Raises MachineError that names all that are taken, and who has them, as far as that can be seen from here."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LINGER_SECONDS
    while taken := [(name, error) for name in names if (error := _trouble(ports[name])) is not None]:
        if loop.time() > deadline:
            said = "; ".join(_words(ports[name], PURPOSES[name], error) for name, error in taken)
            raise MachineError(f"{said}; {remedy}")
        await asyncio.sleep(0.1)


def _trouble(port: int) -> OSError | None:
    """Ray listens at every address."""
    try:
        socket.create_server(("0.0.0.0", port)).close()
    except OSError as error:
        return error
    return None


def _words(port: int, purpose: str, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"port {port} of this box, for {purpose}, cannot be used: {os.strerror(error.errno or 0)}"
    return f"port {port} of this box, for {purpose}, is taken by {holder(port)}"


def holder(port: int) -> str:
    """Who listens there, in words."""
    pids = sorted({one.pid for one in _listening() if one.laddr and one.laddr.port == port and one.pid})
    if not pids:
        return f"a process that cannot be seen from here (as root, `ss -ltnp 'sport = :{port}'` may show it)"
    return " and ".join(map(_process, pids))


def _listening() -> Iterable[Any]:
    try:
        return [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    except (psutil.Error, OSError):
        return ()


def _process(pid: int) -> str:
    with contextlib.suppress(psutil.Error, KeyError):
        process = psutil.Process(pid)
        name = one_line(process.name())  # which its user may have chosen
        left = ", left of another Ray" if name in ("raylet", "gcs_server") else ""
        return f"process {pid} ({name}, of {process.username()}{left})"
    return f"process {pid}"
