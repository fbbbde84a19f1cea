"""`GET /v1/doctor`: what the daemon can say of its own health."""

from __future__ import annotations

import shutil
import stat
from typing import Any

from aiohttp import web

from gpujobs.backends import JAX, TENSORFLOW, missing
from gpujobs.daemon.checks import has_gpu
from gpujobs.daemon.daemon import Daemon, describe_stray
from gpujobs.daemon.keys import daemon_of
from gpujobs.errors import GpujobsError
from gpujobs.model import NodeStatus

LOW_DISK_BYTES = 5 << 30


async def handle(request: web.Request) -> web.Response:
    daemon = daemon_of(request)
    checks = [
        _mode(daemon),
        _groups(daemon),
        _private(daemon),
        _disk(daemon),
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
        _check(f"unknown trainer on {stray['node']}", False, describe_stray(stray)) for stray in daemon.strays
    ]


async def _launcher(daemon: Daemon, node: str) -> dict[str, Any]:
    try:
        seconds = daemon.link.launchers.answer_seconds(TENSORFLOW)
        answer = await daemon.link.call(node, "launcher", answer_seconds=seconds)
    except GpujobsError as error:
        return _check(f"launcher {node}", False, str(error))
    versions = f"TensorFlow {answer['tensorflow']}, Keras {answer['keras']}, pid {answer['pid']}"
    return _check(f"launcher {node}", True, versions)
