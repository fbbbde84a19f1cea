"""Directories that the daemon is told to use and that somebody else has prepared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpujobs.daemon.door import Door
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.errors import MachineError
from gpujobs.paths import StatePaths

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to make another's directory")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


def test_a_state_directory_of_another_is_refused(theirs: Path) -> None:
    with pytest.raises(MachineError, match=f"belongs to uid {NOBODY}"):
        prepare_state(StatePaths(theirs), Mode.SITE)
    assert list(theirs.iterdir()) == []


def test_anothers_link_to_a_directory_of_ours_is_refused(tmp_path: Path) -> None:
    ours, link = tmp_path / "ours", tmp_path / "link"
    ours.mkdir(mode=0o700)
    link.symlink_to(ours)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(MachineError, match=f"belongs to uid {NOBODY}"):
        prepare_state(StatePaths(link), Mode.SITE)
    assert ours.stat().st_mode & 0o777 == 0o700


def test_our_own_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    prepare_state(StatePaths(tmp_path / "link"), Mode.SITE)
    assert (tmp_path / "ours/run").stat().st_mode & 0o777 == 0o700


def test_a_socket_in_anothers_directory_is_refused(theirs: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for directory in (theirs, shared):
        with pytest.raises(MachineError, match="can be changed by others"):
            Door([directory / "s"], is_open_to_all=True).open()
        assert list(directory.iterdir()) == []
    shared.chmod(0o1777)
    Door([shared / "s"], is_open_to_all=True).open().close()


@pytest.mark.parametrize(("mode", "bits"), [(Mode.SITE, 0o666), (Mode.PERSONAL, 0o600)])
def test_a_socket_has_its_mode_from_the_beginning(tmp_path: Path, mode: Mode, bits: int) -> None:
    old = os.umask(0o077)
    try:
        Door([tmp_path / "new/s"], is_open_to_all=mode is Mode.SITE).open().close()
    finally:
        os.umask(old)
    assert (tmp_path / "new/s").stat().st_mode & 0o777 == bits
    assert (tmp_path / "new").stat().st_mode & 0o777 == (0o755 if mode is Mode.SITE else 0o700)
