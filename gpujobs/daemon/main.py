"""`gpujobs serve`: from an empty directory to a daemon that answers."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from gpujobs import failpoints
from gpujobs.config.settings import Settings
from gpujobs.daemon import reload, watchdog
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.modes import Mode, StopMode
from gpujobs.daemon.server import door_of, serving
from gpujobs.daemon.shutdown import Shutdown
from gpujobs.daemon.site_service import SiteService
from gpujobs.daemon.watchdog import notify_systemd
from gpujobs.errors import MachineError, UsageError
from gpujobs.linux import durable, statelock
from gpujobs.paths import StatePaths
from gpujobs.store.store import DAEMON

MAX_DESCRIPTORS = 65536

VISITOR_SECONDS = 10.0
"""That an embedded daemon stays for those who are connected to it, at most."""

log = logging.getLogger(__name__)


def serve(settings: Settings, *, ready_fd: int | None = None, lifeline_fd: int | None = None) -> None:
    """Serves until it is stopped. `ready_fd` gets a line when the socket answers; when `lifeline_fd`
    closes, the user of an embedded daemon has gone. Raises MachineError where it cannot serve.

    An embedded daemon that finds another gives way: the line is then what it has found."""
    paths = StatePaths(settings.state_dir)
    mode = Mode(settings.mode)
    if mode is Mode.SITE:
        failpoints.disarm()
    prepare_state(paths, mode)
    try:
        lock = statelock.take(paths.lock)
    except UsageError as error:
        if mode is not Mode.EMBEDDED or ready_fd is None:
            raise
        os.write(ready_fd, f"{error.message}\n".encode())
        return
    allow_descriptors()
    os.chdir("/")  # where nobody else can put a module, and no file system is kept from being unmounted
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        **_log_target(paths, mode),
    )
    try:
        asyncio.run(_run(settings, lock, ready_fd, lifeline_fd))
    finally:
        os.close(lock)


async def _run(settings: Settings, lock: int, ready_fd: int | None, lifeline_fd: int | None) -> None:
    if failpoints.armed():
        log.warning("faults are armed at %s", ", ".join(failpoints.armed()))
    parts = build(settings)
    daemon, door = Daemon(parts), door_of(parts)
    door.require_free()  # before Ray and the launcher are started for nothing
    parts.in_force.file_values = reload.file_values(settings.config)
    try:
        await daemon.start()
        async with serving(parts, door) as server:
            _listen_to_signals(parts.site)
            if lifeline_fd is not None:
                _follow_lifeline(parts.site, lifeline_fd)
            _announce(ready_fd, settings.socket, parts)
            async with watchdog.fed():
                await _end(parts.shutdown, server)
            log.info("closing")
            statelock.note(lock, "closing")
            notify_systemd("STOPPING=1")
            door.close()
    finally:  # also where it could not serve: what waits for Ray would keep this process for ever
        await daemon.close()


async def _end(shutdown: Shutdown, server: web.Server) -> None:
    """Returns when the daemon is to close. One that ends because nobody needs it any more lets those who still ask
    have their answers: their jobs have ended, and what became of them is the next thing that they want to know."""
    while True:
        await shutdown.ended.wait()
        deadline = time.monotonic() + VISITOR_SECONDS
        while shutdown.ends_by_itself and server.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if not (shutdown.ends_by_itself and shutdown.is_busy()):
            return
        shutdown.ended.clear()  # somebody has submitted meanwhile


def _log_target(paths: StatePaths, mode: Mode) -> dict[str, Any]:
    """An embedded daemon must not write into the output of the `run` that started it."""
    return {"filename": paths.log} if mode is Mode.EMBEDDED else {}


def prepare_state(paths: StatePaths, mode: Mode) -> None:
    """Makes the directories. A site daemon's root can be passed by everybody, so that people reach
    their own results; everything else in it is closed."""
    passable = 0o711 if mode is Mode.SITE else 0o700
    try:
        for path, bits in (
            (paths.root, passable),
            (paths.run, 0o700),
            (paths.ray, 0o700),
            (paths.spool, passable),
            (paths.spool / "data", passable),
            (paths.spool / "jobs", passable),
            (paths.results, passable),
        ):
            if path != paths.root and os.path.lexists(path) and not path.is_dir():
                log.warning("%s is no directory; it is kept as %s", path, durable.set_aside(path).name)
            path.mkdir(parents=True, exist_ok=True, mode=bits)
            _require_own(path)
            path.chmod(bits)
        durable.make_way(paths.lock)
    except (FileExistsError, NotADirectoryError) as error:
        raise MachineError(f"{error.filename} cannot be made a directory: a file is in its place") from error
    except OSError as error:
        raise MachineError(
            f"{error.filename}: {error.strerror}; the state directory must be writable"
        ) from error


def _require_own(path: Path) -> None:
    """Somebody else's directory, a link to it, or a link of theirs would give them the store."""
    for status in (path.lstat(), path.stat()):
        if status.st_uid != os.geteuid():
            raise MachineError(
                f"{path} belongs to uid {status.st_uid}, not to this daemon's uid {os.geteuid()}"
            )


def allow_descriptors() -> None:
    """Each connection takes one, and a shell gives 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MAX_DESCRIPTORS if most == resource.RLIM_INFINITY else min(MAX_DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


def _announce(ready_fd: int | None, path: Path, parts: Parts) -> None:
    log.info("%s", parts.in_force.access.describe())
    for name in parts.in_force.access.missing_groups():
        log.warning("the configuration names group %s, which this machine does not have", name)
    log.info("serving %s on %s (%s daemon)", parts.paths.root, path, parts.mode)
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    notify_systemd(f"READY=1\nSTATUS={parts.mode} daemon on {path}")


def _listen_to_signals(site: SiteService) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, site.shutdown.end)
    if site.mode is Mode.SITE:  # a personal one ends with its terminal, as other programs do
        loop.add_signal_handler(signal.SIGHUP, _reload, site)


def _reload(site: SiteService) -> None:
    notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
    said = site.reload()
    notify_systemd(f"READY=1\nSTATUS={said}")


def _follow_lifeline(site: SiteService, descriptor: int) -> None:
    loop = asyncio.get_running_loop()

    def user_has_gone() -> None:
        loop.remove_reader(descriptor)
        site.stop(StopMode.NOW, DAEMON)

    loop.add_reader(descriptor, user_has_gone)
