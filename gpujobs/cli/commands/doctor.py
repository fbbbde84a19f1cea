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

PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "ray",
    "nvidia-ml-py",
    "pydantic",
    "cryptography",
    "aiohttp",
    "click",
    "rich",
)
MIN_FREE_BYTES = 5 << 30
MARKS = {True: "ok", False: "FAIL", None: "-"}


@app.command("doctor", "gpujobs doctor")
@app.json_option
def command(as_json: bool) -> None:
    """With --config FILE it is a dry run of that configuration: every mistake with its line, and what it would mean."""
    if (config := app.flags().get("config")) is not None:
        _dry_run(Path(config), as_json)
        return
    checks = [_check(*found) for found in (*_program(), _driver())]
    try:
        client = app.client()
        info, answers = client.get("/v1/info"), client.get("/v1/doctor")["checks"]
    except GpujobsError as error:
        from gpujobs.cli.unreachable import locked

        checks += [_check(*found) for found in (*_places(), *_node())]
        # One that runs and does not answer is a fault; that none runs is not.
        checks.append(_check("daemon", False if locked(app.flags()) else None, error.message))
    else:
        checks += answers
        if info["mode"] == "site" and os.getuid() != 0:
            checks = [_for_an_admin(check) for check in checks]
    _show(checks, as_json)
    if any(check["ok"] is False for check in checks):
        raise click.exceptions.Exit(4)


def _show(checks: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        output.print_json(checks)
    else:
        for check in checks:
            click.echo(output.message(f"{MARKS[check['ok']]:<5} {check['name']}: {check['message']}"))


def _dry_run(config: Path, as_json: bool) -> None:
    """Ends with 2 where no daemon would take the file, with 4 where it names what this machine does not have."""
    from gpujobs.cli.dry_run import findings

    found, is_valid = findings(config)
    checks = [_check(*one) for one in found]
    _show(checks, as_json)
    if any(check["ok"] is False for check in checks):
        raise click.exceptions.Exit(4 if is_valid else 2)


def _check(name: str, ok: bool | None, message: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "message": message}


def _for_an_admin(check: dict[str, Any]) -> dict[str, Any]:
    """Who may only use the site can mend nothing of it."""
    if check["ok"] is not False:
        return check
    return {**check, "message": f"{check['message']} (for an administrator of this machine)"}


def _program() -> Iterator[tuple[str, bool | None, str]]:
    version = platform.python_version_tuple()
    yield "python", (3, 11) <= (int(version[0]), int(version[1])) < (3, 14), platform.python_version()
    yield from _packages()


def _places() -> Iterator[tuple[str, bool | None, str]]:
    """Of the caller's own daemon, where none runs to say it."""
    from gpujobs.config.settings import resolve

    state_dir = resolve(app.flags()).state_dir
    yield _state_dir(state_dir)
    yield _disk(state_dir)


def _node() -> Iterator[tuple[str, bool | None, str]]:
    """Where this box has joined another's queue."""
    from gpujobs.config.settings import resolve
    from gpujobs.paths import StatePaths

    paths = StatePaths(resolve(app.flags(), mode="site" if os.getuid() == 0 else "personal").state_dir)
    if os.access(paths.membership, os.R_OK):
        from gpujobs.cluster.health import of_a_node

        yield from of_a_node(paths)


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
    """As NVML has it, which is what jobs are given devices by."""
    from gpujobs.node.probe import read_once

    reading = read_once()
    if reading.status == "failed":
        return "nvidia driver", False, reading.message
    if not reading.devices:
        why = reading.message or "the NVIDIA driver shows no GPU"
        return "nvidia driver", None, f"{why}; jobs run on CPU slots"
    return (
        "nvidia driver",
        True,
        f"{len(reading.devices)} GPU{'s' if len(reading.devices) > 1 else ''}{_version()}",
    )


def _version() -> str:
    try:
        return f"; {Path('/proc/driver/nvidia/version').read_text().splitlines()[0]}"
    except (OSError, IndexError):
        return ""


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
    if not stat.S_ISDIR(status.st_mode):
        return "state directory", False, f"{path} is there and is no directory"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "state directory", False, f"{path} is on a file system that is mounted read-only"
    return "state directory", True, str(path)


def _disk(path: Path) -> tuple[str, bool | None, str]:
    parent = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    return "disk", free >= MIN_FREE_BYTES, f"{output.size(free)} free at {parent}; 5 GiB are expected"
