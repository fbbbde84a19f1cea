"""`GET /v1/doctor`: what the daemon can say of its own health."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from typing import Any

from aiohttp import web

from gpujobs.backends import JAX, TENSORFLOW, missing
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.environment import OBJECT_STORE_BYTES, SHARED_MEMORY, object_store_directory
from gpujobs.cluster.health import ON_THE_HEAD, of_certificates
from gpujobs.cluster.ports import Ports
from gpujobs.daemon.devices.admission import describe_stray
from gpujobs.daemon.jobs.checks import has_gpu
from gpujobs.daemon.keys import SITE, WEB
from gpujobs.daemon.news import health
from gpujobs.daemon.site_service import SiteService
from gpujobs.daemon.web.listener import WebDoor
from gpujobs.errors import GpujobsError
from gpujobs.model import NodeStatus
from gpujobs.protocol.instructions import AskLauncher
from gpujobs.store.database import HOW_TO_RESTORE

LOW_DISK_BYTES = 5 << 30
MENDED_SQLITE, MENDED_SERIES = (3, 51, 3), ("3.44.6", "3.50.7")


async def handle(request: web.Request) -> web.Response:
    site = request.app[SITE]
    checks = [
        _mode(site),
        _groups(site),
        _private(site),
        _pages(request.app.get(WEB)),
        _disk(site),
        *_store(site),
        _sqlite(),
        _shared_memory(site),
        await _jax(site),
        _check("news", *await health.look(site.in_force.site.notify)),
        *_cluster(site),
        *await _nodes(site),
        *await _disks(site),
        *await _strays(site),
    ]
    return web.json_response({"checks": checks})


def _check(name: str, ok: bool | None, message: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "message": message}


def _mode(site: SiteService) -> dict[str, Any]:
    return _check("mode", True, site.access.describe())


def _groups(site: SiteService) -> dict[str, Any]:
    if missing := site.access.missing_groups():
        return _check(
            "groups",
            False,
            f"{', '.join(missing)} in [access] of {site.in_force.settings.config}: no such group here",
        )
    return _check("groups", True, "every group in the configuration exists")


def _private(site: SiteService) -> dict[str, Any]:
    """The store and the token must be readable by the daemon alone."""
    open_to_others = [
        path.name
        for path in (
            site.paths.database,
            site.paths.run,
            site.paths.ray,
            site.paths.ray_token,
            site.paths.cluster_token,
            site.paths.tls,
        )
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_to_others:
        return _check("permissions", False, f"others can reach {', '.join(open_to_others)}; chmod go= them")
    return _check("permissions", True, f"{site.paths.root} is closed to other users")


def _pages(door: WebDoor | None) -> dict[str, Any]:
    """That none are served may be meant; a port that is taken is not."""
    if door is not None and door.url:
        return _check("pages", True, f"on {door.url}; `gpujobs web` prints a link")
    why = "this daemon serves no pages" if door is None else door.why
    if door is not None and door.has_failed:
        return _check(
            "pages", False, f"{why}; the socket is served all the same; [web] listen names another address"
        )
    return _check("pages", None, why)


def _disk(site: SiteService) -> dict[str, Any]:
    free = shutil.disk_usage(site.paths.root).free
    message = f"{free / 2**30:.1f} GiB free for {site.paths.root}"
    return _check("disk", free > LOW_DISK_BYTES, message)


def _store(site: SiteService) -> list[dict[str, Any]]:
    """Reads all of it: a damaged page is better found here than by the job that needs it."""
    if problems := site.store.problems():
        found = _check("store", False, f"{site.paths.database}: {'; '.join(problems)}; {HOW_TO_RESTORE}")
    else:
        message = f"{site.paths.database} is whole; numbers up to {site.store.highest_number()} were given"
        found = _check("store", True, message)
    return [found, *(_check("store", None, notice) for notice in site.notices)]


def _sqlite() -> dict[str, Any]:
    """Up to 3.51.2, but for 3.44.6 and 3.50.7, a commit can be lost when another connection checkpoints at the same
    moment (sqlite.org/wal.html). There is no other here."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= MENDED_SQLITE or version in MENDED_SERIES:
        return _check("sqlite", True, version)
    message = "its bug of checkpoints beside commits cannot show here, as one connection makes both"
    return _check("sqlite", True, f"{version}; {message}; let nothing else write to the store")


def _shared_memory(site: SiteService) -> dict[str, Any]:
    if object_store_directory(OBJECT_STORE_BYTES, site.paths.ray) is None:
        return _check("shared memory", True, f"{SHARED_MEMORY} has room for Ray's object store")
    message = (
        f"{SHARED_MEMORY} is missing, closed or full; results pass through a directory on a disk instead. In a "
        "container, --shm-size makes it larger"
    )
    return _check("shared memory", None, message)


async def _jax(site: SiteService) -> dict[str, Any]:
    """It is optional: that it is missing is no failure."""
    lack = missing(JAX, on_gpu=has_gpu(await site.nodes.devices_of_members()))
    return _check("backend jax", True if lack is None else None, lack or "jobs may say training.backend: jax")


def _cluster(site: SiteService) -> list[dict[str, Any]]:
    """Only where other boxes can join."""
    listening = site.link.listening
    if listening is None:
        return []
    if site.link.door:
        return [_check("cluster", False, site.link.door)]
    where = f"other boxes can join at {listening.address}, ports {Ports(listening.port).words}"
    if listening.tls:
        files = TlsFiles(site.paths.tls)
        found = [_check(*of_certificates(files, ON_THE_HEAD))] if files.box.exists() else []
        return [_check("cluster", True, f"{where}; what crosses the network is encrypted"), *found]
    message = f"{where}; what crosses the network is not encrypted, so nobody else should be in it (docs/cluster.md)"
    return [_check("cluster", None, message)]


async def _nodes(site: SiteService) -> list[dict[str, Any]]:
    checks = []
    for node in await site.nodes.probe():
        found = ", ".join(f"{d.kind} {d.index} {d.name}" for d in node.devices)
        ok = None if node.status is NodeStatus.STARTING else node.status is NodeStatus.OK
        checks.append(_check(f"node {node.name}", ok, "; ".join(filter(None, [node.message, found]))))
        if node.status is NodeStatus.OK:
            checks.append(await _launcher(site, node.name))
    return checks


async def _disks(site: SiteService) -> list[dict[str, Any]]:
    """Of other boxes that are there; ours is looked at by itself."""
    rooms = await site.nodes.rooms()
    return [
        _check(
            f"disk {name}",
            room.free_bytes > LOW_DISK_BYTES,
            f"{room.free_bytes / 2**30:.1f} GiB of {room.total_bytes / 2**30:.1f} GiB free",
        )
        for name, room in rooms.items()
        if site.nodes.is_remote(name)
    ]


async def _strays(site: SiteService) -> list[dict[str, Any]]:
    """Trainers that go on though no job knows them, and how each is ended."""
    await site.admission.look_for_strays(site.nodes.own_name)
    return [
        _check(f"unknown trainer on {site.nodes.own_name}", False, describe_stray(stray))
        for stray in site.admission.strays
    ]


async def _launcher(site: SiteService, node: str) -> dict[str, Any]:
    try:
        seconds = site.link.launcher_seconds(node, TENSORFLOW)
        answer = await site.link.call(node, AskLauncher(seconds))
    except GpujobsError as error:
        return _check(f"launcher {node}", False, str(error))
    packages = answer.packages
    versions = f"TensorFlow {packages['tensorflow']}, Keras {packages['keras']}, pid {answer.pid}"
    return _check(f"launcher {node}", True, versions)
