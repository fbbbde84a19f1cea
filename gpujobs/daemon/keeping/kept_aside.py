"""What was given another name because something of ours belongs in its place: `7.other`, `record.json.damaged`,
`before-restore-...`. No job knows of it, and its age is that of its new name."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from gpujobs.daemon.access.identity import user_name
from gpujobs.daemon.keeping.removal import Kind, Left
from gpujobs.linux import durable
from gpujobs.paths import JobPaths, StatePaths
from gpujobs.results.catalogue import list_files

ASIDE_NAME = re.compile(r".+\.(other|damaged)(-[0-9]+)?|before-restore-.+")


def kept_aside(paths: StatePaths) -> Iterator[Left]:
    """Results count as results, all else as what failed jobs have left."""
    yield from _in(paths.results, Kind.RESULTS)
    jobs = paths.spool / "jobs"
    for directory in (paths.root, paths.run, paths.spool, jobs, *_numbered(jobs)):
        yield from _in(directory, Kind.CHECKPOINTS)


def _in(directory: Path, kind: Kind) -> Iterator[Left]:
    for path in durable.entries(directory):
        # An attempt goes with its job.
        if ASIDE_NAME.fullmatch(path.name) and not path.name.startswith("attempt-") and not _is_in_use(path):
            yield _left(path, kind)


def _numbered(jobs: Path) -> list[Path]:
    return [path for path in durable.entries(jobs) if path.name.isdecimal() and path.is_dir()]


def _is_in_use(path: Path) -> bool:
    """A trainer lives in it that no job knows."""
    return any(durable.is_locked(attempt / "supervisor.lock") for attempt in path.glob("attempt-*"))


def _left(path: Path, kind: Kind) -> Left:
    status = path.lstat()
    since = datetime.fromtimestamp(status.st_ctime, UTC)  # the rename has set it
    if stat.S_ISDIR(status.st_mode):
        size = sum(count for _, count in list_files(str(path)))
    else:
        size = status.st_size
    uid = _owner(path, status.st_uid)
    return Left(kind, uid, user_name(uid), since, size, places=(path,), name=path.name)


def _owner(path: Path, uid: int) -> int:
    """The directory of a job is the daemon's; what its trainer wrote is in one of the user's."""
    try:
        return JobPaths(path).work.lstat().st_uid
    except OSError:
        return uid
