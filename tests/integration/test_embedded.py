"""A daemon for one command, where somebody else starts one at the same moment."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs.cli import embedded
from gpujobs.config.settings import resolve
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.errors import MachineError
from gpujobs.linux import statelock
from gpujobs.paths import StatePaths
from tests.acceptance.harness import short_directory


@pytest.fixture
def state() -> Iterator[Path]:
    """Of a daemon that is just starting: it holds the lock."""
    directory = short_directory()
    paths = StatePaths(directory / "s")
    prepare_state(paths, Mode.PERSONAL)
    lock = statelock.take(paths.lock)
    yield paths.root
    os.close(lock)
    shutil.rmtree(directory)


def test_whoever_is_second_uses_the_daemon_of_the_first(state: Path) -> None:
    place = resolve({"state_dir": str(state)}, environ={}).socket

    def listen() -> None:
        time.sleep(1.0)  # longer than the second one takes to find the lock
        listener.bind(str(place))
        listener.listen()

    with socket.socket(socket.AF_UNIX) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        with embedded.embedded_daemon({"state_dir": state}, place) as client:
            assert client.socket == place
            client.close()
        thread.join()


def test_a_daemon_that_does_not_come_up_is_named(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SOCKET_SECONDS", 0.1)
    named = pytest.raises(MachineError, match=f"pid {os.getpid()}\\) already serves")
    with named, embedded.embedded_daemon({"state_dir": state}, state / "no.sock"):
        pass
