"""Closing Ray off: its token, its directories and its variables."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gpujobs import durable
from gpujobs.paths import StatePaths

PYTHON = (sys.executable, "-P", "-m")
"""-P: a module is looked for in the installation, not in the directory that we happen to be started in."""

SESSION_SOCKET_LENGTH = 62
"""`/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store`, which Ray appends."""

MAX_SOCKET_LENGTH = 107
"""Of sun_path, without its final zero."""


def make_token(path: Path) -> None:
    """A fresh secret, mode 0600, made exclusively: Ray's own would follow the umask."""
    durable.make_way(path)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))


def make_temp_parent(paths: StatePaths) -> Path:
    """An empty private directory (0700) for Ray's own, which Ray makes 0777. Short enough for the
    sockets inside: in the state directory, or, where that is too deep, in the system's temporary one."""
    if len(str(paths.ray)) + len("/s") + SESSION_SOCKET_LENGTH <= MAX_SOCKET_LENGTH:
        shutil.rmtree(paths.ray, ignore_errors=True)
        paths.ray.mkdir(mode=0o700, exist_ok=True)
        return paths.ray
    return Path(tempfile.mkdtemp(prefix="gpujobs-ray-", dir="/tmp"))


def without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Neither a trainer nor a Ray of ours is to see what somebody set for another Ray."""
    return {key: value for key, value in environment.items() if not key.startswith("RAY_")}


def ray_environment(paths: StatePaths) -> dict[str, str]:
    """Set in the head process before it imports ray."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(paths.ray_token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # A trainer's memory is the supervisor's affair; Ray must not end the agent for it.
        "RAY_memory_monitor_refresh_ms": "0",
        # The agent holds all of a node's GPUs, but uses none of them itself.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
    }
