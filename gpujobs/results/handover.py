"""Making what was collected its user's."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def give_away(root: Path, uid: int, gid: int, readers: int | None) -> None:
    """The directory `root` and all in it become the user's; the group `readers`, where there is one, may
    read it. Nobody but the daemon can reach it meanwhile: the top, mode 0700, changes hands last."""
    group = gid if readers is None else readers
    more = 0 if readers is None else 0o050
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            _give(Path(directory) / name, uid, group, 0o600 | more & 0o040)
        _give(Path(directory), uid, group, 0o700 | more)


def _give(path: Path, uid: int, gid: int, mode: int) -> None:
    path.chmod(mode)
    os.chown(path, uid, gid, follow_symlinks=False)


def exchange(parent: Path, name: str, fresh: Path) -> None:
    """Puts the directory `fresh` in the place of what is called `name` in `parent`, a user's directory: nothing that a
    link leads to is touched. What was there is removed; in between, there is none."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        old = fresh.with_name(f"{fresh.name}.old")
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, old, src_dir_fd=descriptor)
        os.rename(fresh, name, dst_dir_fd=descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)
