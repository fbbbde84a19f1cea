"""What a box that has joined keeps: data under its hash, up to a limit for each user, and directories of jobs. What an
attempt reads that lives there never goes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from gpujobs.linux import durable
from gpujobs.node import arrivals, attempts
from gpujobs.paths import JobPaths, StatePaths
from gpujobs.protocol.boxes import Blob, DropData, Dropped, Kept, KeptData, KeptJob, Room
from gpujobs.results.catalogue import list_files


def room(paths: StatePaths) -> Room:
    usage = shutil.disk_usage(paths.root)
    return Room(usage.free, usage.total)


def kept(paths: StatePaths) -> Kept:
    """Blocks: looks at every file that jobs have left here."""
    return Kept(tuple(_jobs(paths)), tuple(_data(paths)))


def _jobs(paths: StatePaths) -> list[KeptJob]:
    found = []
    for directory in durable.entries(paths.spool / "jobs"):
        if directory.name.isdecimal() and directory.is_dir():
            size = sum(count for _, count in list_files(str(directory)))
            is_live = any(True for _ in attempts.living(JobPaths(directory)))
            with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
                status = directory.lstat()
                found.append(
                    KeptJob(int(directory.name), size, status.st_ctime, is_live, _owner(directory, status))
                )
    return found


def _owner(directory: Path, status: os.stat_result) -> int:
    """The directory is the agent's own; what its trainer wrote is in one of the user's."""
    try:
        return JobPaths(directory).work.lstat().st_uid
    except OSError:
        return status.st_uid


def _data(paths: StatePaths) -> list[KeptData]:
    found = []
    for directory in durable.entries(paths.spool / "data"):
        for path in durable.entries(directory) if directory.name.isdecimal() else ():
            with contextlib.suppress(FileNotFoundError):  # what comes is renamed when it is whole
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and not path.name.startswith("."):
                    read_at = max(status.st_atime, status.st_mtime)
                    found.append(KeptData(Blob(int(directory.name), path.name, status.st_size), read_at))
    return found


def drop(paths: StatePaths, asked: DropData) -> Dropped:
    """What of it could go."""
    places = {paths.data(blob.uid, blob.sha256): blob for blob in asked.blobs}
    free = {path for path, _ in arrivals.unused(paths)}
    going = [path for path in places if path in free]
    for path in going:
        path.unlink(missing_ok=True)
    return Dropped(tuple(places[path] for path in going))


def limit(paths: StatePaths, uid: int, limit_bytes: int, needed: Collection[Blob]) -> None:
    """Makes room under a user's limit for what is `needed` and not here yet: what nothing reads goes, the longest
    unread first. What attempts here read may be more than the limit."""
    wanted = {paths.data(blob.uid, blob.sha256): blob.bytes for blob in needed}
    entries = durable.entries(paths.spool / "data" / str(uid))
    here = {path: size for path in entries if (size := arrivals.size_of(path)) is not None}
    coming = sum(size for path, size in wanted.items() if path not in here)
    excess = sum(here.values()) + coming - limit_bytes
    if excess <= 0:
        return
    unused = [one for one in arrivals.unused(paths) if one[0] in here and one[0] not in wanted]
    for path, status in sorted(unused, key=lambda one: one[1].st_atime):
        if excess > 0:
            path.unlink(missing_ok=True)
            excess -= status.st_size
