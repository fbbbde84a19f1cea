"""Which state directory this is: what was written by the daemon of another one is never taken for our own.

The id is random. The file that holds it also says its own device and inode, which no copy has: a directory that
was copied, or restored from a backup, is recognised and gets an id of its own. One that was moved keeps it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from pathlib import Path

from gpujobs.linux import durable

log = logging.getLogger(__name__)


def state_id(path: Path) -> str:
    """The id in the file `path`, which is made where there is none, or where it is a copy's. Raises OSError."""
    try:
        known = durable.read_json(path)
    except durable.DamagedError as damage:
        log.warning("%s; the state directory gets a new id", damage)
        known = None
    if known is not None:
        if _place(path) == (known.get("device"), known.get("inode")) and isinstance(known.get("id"), str):
            return str(known["id"])
        log.warning(
            "%s is a copy, or its file system was mounted anew: the attempts in it belong to another state"
            " directory, whose trainers are left alone; this one gets a new id",
            path.parent,
        )
    return _make(path)


def keep(path: Path, known: str) -> None:
    """Of a directory that was removed, and is made again by who knows its id."""
    _make(path, known)


def _make(path: Path, known: str | None = None) -> str:
    """The place of a file is known when it is there, and stays when it is renamed."""
    fresh, made = path.with_name(f"{path.name}.new"), known or secrets.token_hex(16)
    durable.make_way(path)
    durable.make_way(fresh)
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        device, inode = _place(fresh)
        json.dump({"id": made, "device": device, "inode": inode}, file)
        file.flush()
        os.fsync(file.fileno())
    durable.rename(fresh, path)
    return made


def _place(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
