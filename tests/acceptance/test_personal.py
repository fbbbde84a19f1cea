"""A personal daemon is one user's, whatever the modes of its files become."""

from __future__ import annotations

from collections.abc import Iterator
from stat import S_IMODE

import pytest

from .harness import RunningDaemon
from .people import Person, cli_as


@pytest.fixture
def opened(shared_daemon: RunningDaemon) -> Iterator[RunningDaemon]:
    """Its directory and its socket are closed again at the end."""
    paths = (shared_daemon.state, shared_daemon.socket)
    modes = [S_IMODE(path.stat().st_mode) for path in paths]
    yield shared_daemon
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode)


def test_a_personal_daemon_refuses_others(opened: RunningDaemon, bob: Person) -> None:
    refused = cli_as(bob, opened, "status")
    assert refused.returncode == 5, refused.stderr  # its directory is closed
    opened.state.chmod(0o711)
    opened.socket.chmod(0o666)
    refused = cli_as(bob, opened, "status")
    assert refused.returncode == 5, refused.stderr
    assert "this is the personal daemon of root" in refused.stderr
    assert refused.stdout == ""
