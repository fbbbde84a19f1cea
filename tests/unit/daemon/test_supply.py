"""What goes to another box for a user is what the kernel would let that user read here."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gpujobs.daemon.jobs.supply import _require_readable, _tree
from gpujobs.errors import UsageError
from gpujobs.protocol.spec import Identity

OWNER, GROUP, OTHER = 1000, 50, 2000


def may_read(mode: int, uid: int, groups: tuple[int, ...] = ()) -> bool:
    status = os.stat_result((0o100000 | mode, 1, 1, 1, OWNER, GROUP, 1, 0, 0, 0))
    try:
        _require_readable(status, Identity(uid, uid, groups, "/"), "model.keras")
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize(
    ("mode", "owner", "member", "stranger"),
    [
        (0o600, True, False, False),
        (0o640, True, True, False),
        (0o644, True, True, True),
        (0o604, True, False, True),
        (0o040, False, True, False),
    ],
)
def test_the_first_class_that_fits_decides(mode: int, owner: bool, member: bool, stranger: bool) -> None:
    found = (may_read(mode, OWNER), may_read(mode, OTHER, (GROUP,)), may_read(mode, OTHER))
    assert found == (owner, member, stranger)
    assert may_read(mode, 0)


def test_files_go_by_their_hashes_and_links_do_not(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"weights")
    (tmp_path / "linked").symlink_to(tmp_path / "model.keras")
    (file,) = _tree(str(tmp_path), ["model.keras"], os.geteuid(), None).files
    assert (file.name, file.sha256, file.bytes) == ("model.keras", hashlib.sha256(b"weights").hexdigest(), 7)
    for name in ("linked", "../model.keras", "gone"):
        with pytest.raises(UsageError):
            _tree(str(tmp_path), [name], os.geteuid(), None)
