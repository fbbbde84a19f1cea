"""Closing Ray off: its token, its directories and its variables."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gpujobs.cluster.certificates import TlsFiles
from gpujobs.errors import MachineError
from gpujobs.linux import durable
from gpujobs.paths import StatePaths

PYTHON = (sys.executable, "-P", "-m")
"""-P: a module is looked for in the installation, not in the directory that we happen to be started in."""

TEMP, TEMP_PREFIX = Path("/tmp"), "gpujobs-ray-"

SHARED_MEMORY = Path("/dev/shm")

OBJECT_STORE_BYTES = 128 << 20
"""Results pass through it in chunks; nothing stays."""

SESSION_SOCKET_LENGTH = 62
"""`/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store`, which Ray appends."""

MAX_SOCKET_LENGTH = 107
"""Of sun_path, without its final zero."""


LINKS = {
    # Connections over a link that was cut are tried again ever more rarely, at last once in two minutes: these are
    # given up after some seconds, and made anew, so that a box is heard of soon after its link has healed.
    "RAY_grpc_client_keepalive_time_ms": "4000",
    "RAY_grpc_client_keepalive_timeout_ms": "4000",
    "RAY_grpc_keepalive_time_ms": "4000",
    "RAY_grpc_keepalive_timeout_ms": "4000",
    # Tries to connect come ever more rarely too, at last once in two minutes, and Ray does not let one say how rarely:
    # but a channel that nobody uses for so long is taken down, and the next use of it tries at once.
    "RAY_grpc_client_idle_timeout_ms": "200",
    # A box that is away is the daemon's affair (daemon/devices/contact.py): Ray is not to end its own processes there,
    # and the agent, for a cut of some minutes, since to start them again takes long.
    "RAY_health_check_failure_threshold": "200",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
}
"""Of a cluster of boxes, besides `ray_environment`."""


def lasting_token(path: Path) -> str:
    """The secret of a cluster that can be joined, made where there is none: others have copies of it. Raises
    MachineError where somebody else may have read or written it."""
    if not os.path.lexists(path):
        make_token(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor) as file:
        status = os.fstat(descriptor)
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise MachineError(
                f"{path} can be read by others than this daemon's user; remove it, start the daemon again, "
                "and give the "
                "boxes of the cluster new token files"
            )
        return file.read().strip()


def make_token(path: Path) -> None:
    """A fresh secret, mode 0600, made exclusively: Ray's own would follow the umask."""
    durable.make_way(path)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))


def make_temp_parent(paths: StatePaths) -> Path:
    """An empty private directory (0700) for Ray's own, which Ray makes 0777: in the state directory, or, where
    Ray cannot take that, in the system's temporary one. What a head that was killed has left there is removed."""
    remove_temp_parent(paths)
    if suits_ray(paths.ray):
        shutil.rmtree(paths.ray, ignore_errors=True)
        paths.ray.mkdir(mode=0o700, exist_ok=True)
        return paths.ray
    made = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=TEMP))
    paths.ray_temp.write_text(str(made))
    return made


def suits_ray(path: Path) -> bool:
    """Short enough for the sockets inside, and of characters that Ray takes in a path."""
    is_short = len(os.fsencode(path)) + len("/s") + SESSION_SOCKET_LENGTH <= MAX_SOCKET_LENGTH
    return is_short and re.fullmatch(r"[A-Za-z0-9._/+@:,=~-]+", str(path)) is not None


def remove_temp_parent(paths: StatePaths) -> None:
    """The directory outside of the state that the last head has made, and noted in its own."""
    try:
        noted = Path(paths.ray_temp.read_text())
        status = noted.lstat()
    except (OSError, ValueError):
        return
    is_ours = noted.parent == TEMP and noted.name.startswith(TEMP_PREFIX) and status.st_uid == os.geteuid()
    if is_ours and stat.S_ISDIR(status.st_mode):
        shutil.rmtree(noted, ignore_errors=True)
    paths.ray_temp.unlink(missing_ok=True)


def object_store_directory(size_bytes: int, fallback: Path) -> Path | None:
    """Where Ray's object store is to be: None leaves it to Ray (/dev/shm). Where that is missing, closed, or full,
    a directory on a disk: results pass through it in chunks, which a disk does too."""
    try:
        with tempfile.TemporaryFile(dir=SHARED_MEMORY):
            free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return fallback
    return None if free >= size_bytes else fallback


def without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Neither a trainer nor a Ray of ours is to see what somebody set for another Ray."""
    return {key: value for key, value in environment.items() if not key.startswith("RAY_")}


def ray_environment(token: Path, tls: TlsFiles | None = None) -> dict[str, str]:
    """Set in the head process before it imports ray, and for what `ray start` starts."""
    return {
        **({} if tls is None else tls.environment),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # A trainer's memory is the supervisor's affair; Ray must not end the agent for it.
        "RAY_memory_monitor_refresh_ms": "0",
        # One worker, the agent, is all there is to be: none is started for each core in case somebody wants it.
        "RAY_prestart_worker_first_driver": "0",
        # Ray's workers are nice, to its own processes: the agent would wait for all that trains on its box.
        "RAY_worker_niceness": "0",
        # What it measures of itself has nowhere to go: no agent takes it (spared.py).
        "RAY_enable_metrics_collection": "0",
        # The agent holds all of a node's GPUs, but uses none of them itself.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
    }
