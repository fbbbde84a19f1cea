"""Making collected results their user's."""

from __future__ import annotations

import os
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
