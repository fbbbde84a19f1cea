"""sd_notify(3), to a real socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gpujobs.daemon.main import notify_systemd


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name = str(tmp_path / "n") if kind == "path" else f"@gpujobs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify_systemd("READY=1\nSTATUS=x")
        assert systemd.recv(100) == b"READY=1\nSTATUS=x"


def test_a_socket_that_is_gone_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify_systemd("READY=1\nSTATUS=x")
    assert "systemd was not told READY=1" in caplog.text
