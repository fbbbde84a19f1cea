"""sd_notify(3), to a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from gpujobs.daemon.watchdog import fed, interval_seconds, notify_systemd


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


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "6000000"}, 3.0),
        ({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_how_often_systemd_wants_to_hear(environ: dict[str, str], seconds: float | None) -> None:
    assert interval_seconds(environ) == seconds


def test_the_event_loop_says_that_it_is_alive_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "n"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")

        async def live() -> list[bytes]:
            async with fed():
                return [await asyncio.to_thread(systemd.recv, 100) for _ in range(3)]

        assert asyncio.run(live()) == [b"WATCHDOG=1"] * 3
