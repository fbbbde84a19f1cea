"""`GET /v1/doctor`: what the daemon can say of its own health."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from typing import Any

from aiohttp import web

from gpujobs.backends import JAX, TENSORFLOW, missing
from gpujobs.cluster.environment import OBJECT_STORE_BYTES, SHARED_MEMORY, object_store_directory
from gpujobs.daemon.daemon import Daemon, describe_stray
from gpujobs.daemon.jobs.checks import has_gpu
from gpujobs.daemon.keys import daemon_of
from gpujobs.errors import GpujobsError
from gpujobs.model import NodeStatus
from gpujobs.protocol.instructions import AskLauncher
from gpujobs.store.database import HOW_TO_RESTORE

LOW_DISK_BYTES = 5 << 30
MENDED_SQLITE, MENDED_SERIES = (3, 51, 3), ("3.44.6", "3.50.7")


async def handle(request: web.Request) -> web.Response:
    daemon = daemon_of(request)
    checks = [
        _mode(daemon),
        _groups(daemon),
        _private(daemon),
        _disk(daemon),
        *_store(daemon),
        _sqlite(),
        _shared_memory(daemon),
        await _jax(daemon),
        *await _nodes(daemon),
        *await _strays(daemon),
    ]
    return web.json_response({"checks": checks})


def _check(name: str, ok: bool | None, message: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "message": message}


def _mode(daemon: Daemon) -> dict[str, Any]:
    return _check("mode", True, daemon.gatekeeper.describe())


def _groups(daemon: Daemon) -> dict[str, Any]:
    if missing := daemon.gatekeeper.missing_groups():
        return _check(
            "groups",
            False,
            f"{', '.join(missing)} in [access] of {daemon.settings.config}: no such group here",
        )
    return _check("groups", True, "every group in the configuration exists")


def _private(daemon: Daemon) -> dict[str, Any]:
    """The store and the token must be readable by the daemon alone."""
    open_to_others = [
        path.name
        for path in (daemon.paths.database, daemon.paths.run, daemon.paths.ray, daemon.paths.ray_token)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_to_others:
        return _check("permissions", False, f"others can reach {', '.join(open_to_others)}; chmod go= them")
    return _check("permissions", True, f"{daemon.paths.root} is closed to other users")


def _disk(daemon: Daemon) -> dict[str, Any]:
    free = shutil.disk_usage(daemon.paths.root).free
    message = f"{free / 2**30:.1f} GiB free for {daemon.paths.root}"
    return _check("disk", free > LOW_DISK_BYTES, message)


def _store(daemon: Daemon) -> list[dict[str, Any]]:
    """Reads all of it: a damaged page is better found here than by the job that needs it."""
    if problems := daemon.store.problems():
        found = _check("store", False, f"{daemon.paths.database}: {'; '.join(problems)}; {HOW_TO_RESTORE}")
    else:
        message = (
            f"{daemon.paths.database} is whole; numbers up to {daemon.store.highest_number()} were given"
        )
        found = _check("store", True, message)
    return [found, *(_check("store", None, notice) for notice in daemon.notices)]


def _sqlite() -> dict[str, Any]:
    """Up to 3.51.2, but for 3.44.6 and 3.50.7, a commit can be lost when another connection checkpoints at the same
    moment (sqlite.org/wal.html). There is no other here."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= MENDED_SQLITE or version in MENDED_SERIES:
        return _check("sqlite", True, version)
    message = "its bug of checkpoints beside commits cannot show here, as one connection makes both"
    return _check("sqlite", True, f"{version}; {message}; let nothing else write to the store")


def _shared_memory(daemon: Daemon) -> dict[str, Any]:
    if object_store_directory(OBJECT_STORE_BYTES, daemon.paths.ray) is None:
        return _check("shared memory", True, f"{SHARED_MEMORY} has room for Ray's object store")
    message = (
        f"{SHARED_MEMORY} is missing, closed or full; results pass through a directory on a disk instead. In a "
        "container, --shm-size makes it larger"
    )
    return _check("shared memory", None, message)


async def _jax(daemon: Daemon) -> dict[str, Any]:
    """It is optional: that it is missing is no failure."""
    lack = missing(JAX, on_gpu=has_gpu(await daemon.devices()))
    return _check("backend jax", True if lack is None else None, lack or "jobs may say training.backend: jax")


async def _nodes(daemon: Daemon) -> list[dict[str, Any]]:
    checks = []
    for node in await daemon.nodes.probe():
        found = ", ".join(f"{d.kind} {d.index} {d.name}" for d in node.devices)
        ok = None if node.status is NodeStatus.STARTING else node.status is NodeStatus.OK
        checks.append(_check(f"node {node.name}", ok, "; ".join(filter(None, [node.message, found]))))
        if node.status is NodeStatus.OK:
            checks.append(await _launcher(daemon, node.name))
    return checks


async def _strays(daemon: Daemon) -> list[dict[str, Any]]:
    """Trainers that go on though no job knows them, and how each is ended."""
    await daemon.look_for_strays(daemon.node_name)
    return [
        _check(f"unknown trainer on {daemon.node_name}", False, describe_stray(stray))
        for stray in daemon.strays
    ]


async def _launcher(daemon: Daemon, node: str) -> dict[str, Any]:
    try:
        seconds = daemon.link.launchers.answer_seconds(TENSORFLOW)
        answer = await daemon.link.call(node, AskLauncher(seconds))
    except GpujobsError as error:
        return _check(f"launcher {node}", False, str(error))
    packages = answer.packages
    versions = f"TensorFlow {packages['tensorflow']}, Keras {packages['keras']}, pid {answer.pid}"
    return _check(f"launcher {node}", True, versions)
