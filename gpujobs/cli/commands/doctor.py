"""gpujobs doctor"""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.errors import GpujobsError

PACKAGES = ("tensorflow", "keras", "numpy", "ray", "nvidia-ml-py", "pydantic", "aiohttp", "click", "rich")
MIN_FREE_BYTES = 5 << 30
MARKS = {True: "ok", False: "FAIL", None: "-"}


@app.command("doctor", "gpujobs doctor")
@app.json_option
def command(as_json: bool) -> None:
    checks = [_check(*found) for found in _local()]
    try:
        checks += app.client().get("/v1/doctor")["checks"]
    except GpujobsError as error:
        from gpujobs.cli.unreachable import locked

        # One that runs and does not answer is a fault; that none runs is not.
        checks.append(_check("daemon", False if locked(app.flags()) else None, error.message))
    if as_json:
        output.print_json(checks)
    else:
        for check in checks:
            click.echo(output.printable(f"{MARKS[check['ok']]:<5} {check['name']}: {check['message']}"))
    if any(check["ok"] is False for check in checks):
        raise click.exceptions.Exit(4)


def _check(name: str, ok: bool | None, message: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "message": message}


def _local() -> Iterator[tuple[str, bool | None, str]]:
    """What can be seen without a daemon."""
    from gpujobs.config import resolve

    version = platform.python_version_tuple()
    yield "python", (3, 11) <= (int(version[0]), int(version[1])) < (3, 14), platform.python_version()
    yield from _packages()
    yield _driver()
    state_dir = resolve(app.flags()).state_dir
    yield _state_dir(state_dir)
    yield _disk(state_dir)


def _packages() -> Iterator[tuple[str, bool | None, str]]:
    from importlib.metadata import PackageNotFoundError, version

    for name in PACKAGES:
        try:
            yield name, True, version(name)
        except PackageNotFoundError:
            yield name, False, "is not installed; install gpujobs again, into an environment of its own"
    try:
        yield "jax", True, version("jax")
    except PackageNotFoundError:
        yield "jax", None, "is not installed; training.backend: jax needs `pip install 'gpujobs[jax]'`"


def _driver() -> tuple[str, bool | None, str]:
    path = Path("/proc/driver/nvidia/version")
    try:
        return "nvidia driver", True, path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return "nvidia driver", None, f"none ({path} does not exist); jobs run on CPU slots"


def _state_dir(path: Path) -> tuple[str, bool | None, str]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return "state directory", None, f"{path} does not exist yet; the daemon makes it"
    except PermissionError:
        return "state directory", False, f"{path} cannot be reached by you; check who owns its parents"
    if status.st_uid != os.getuid():
        return "state directory", False, f"{path} belongs to uid {status.st_uid}, not to you"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "state directory", False, f"{path} can be written by others; `chmod go-w {path}`"
    return "state directory", True, str(path)


def _disk(path: Path) -> tuple[str, bool | None, str]:
    parent = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    return "disk", free >= MIN_FREE_BYTES, f"{output.size(free)} free at {parent}; 5 GiB are expected"
