"""Fail points: off by default, and then nearly free; on only by the environment a process was started with."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpujobs import failpoints


@pytest.fixture(autouse=True)
def off() -> Iterator[None]:
    yield
    failpoints.arm("")


def run(code: str, points: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from gpujobs import failpoints\n{code}"],
        env={**os.environ, "GPUJOBS_FAILPOINTS": points, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_point_that_is_not_armed_does_nothing() -> None:
    failpoints.arm("other=error:EIO")
    failpoints.reach("this")


def test_an_error_once_and_then_no_more() -> None:
    failpoints.arm("store.commit=error:ENOSPC*1")
    with pytest.raises(OSError) as error:
        failpoints.reach("store.commit")
    assert error.value.errno == errno.ENOSPC
    failpoints.reach("store.commit")


def test_an_error_the_third_time_only() -> None:
    failpoints.arm("p=full@3")
    failpoints.reach("p")
    failpoints.reach("p")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        failpoints.reach("p")
    failpoints.reach("p")


def test_for_ever() -> None:
    failpoints.arm("p=locked")
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            failpoints.reach("p")


@pytest.mark.parametrize("text", ["p", "p=explode", "p=stop", "p=pause", "p=error:ENOTHING", "p=kill*x"])
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="GPUJOBS_FAILPOINTS"):
        failpoints.arm(text)


def test_a_process_is_killed_at_its_point() -> None:
    done = run("failpoints.reach('a'); print('here', flush=True); failpoints.reach('b')", "b=kill")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "here\n")


def test_a_process_is_stopped_and_continued() -> None:
    code = "import time; t = time.monotonic(); failpoints.reach('a'); print(time.monotonic() - t > 0.25)"
    assert run(code, "a=stop:0.3").stdout == "True\n"


def test_a_process_waits_at_its_point() -> None:
    failpoints.arm("a=pause:0.05*1")
    begun = time.monotonic()
    failpoints.reach("a")
    assert time.monotonic() - begun >= 0.05


def test_processes_that_share_a_directory_count_together(tmp_path: Path) -> None:
    codes = [run("failpoints.reach('a')", "a=kill*1", GPUJOBS_FAILPOINTS_DIR=str(tmp_path)) for _ in range(2)]
    assert [done.returncode for done in codes] == [-signal.SIGKILL, 0]
    assert (tmp_path / "a").read_bytes() == b".."


def test_disarmed_is_off_here_and_in_what_is_started() -> None:
    environment = {"GPUJOBS_FAILPOINTS": "p=kill", "HOME": "/"}
    failpoints.arm("p=kill")
    failpoints.disarm(environment)
    failpoints.reach("p")
    assert environment == {"HOME": "/"}


def test_points_in_a_file_can_be_changed_while_a_process_runs(tmp_path: Path) -> None:
    file = tmp_path / "points"
    failpoints.arm(f"@{file}")
    failpoints.reach("p")
    file.write_text("p=error:EIO")
    with pytest.raises(OSError):
        failpoints.reach("p")
    file.write_text("p=nonsense")
    failpoints.reach("p")
    file.write_text("p=error:EIO")
    failpoints.disarm({})
    failpoints.reach("p")
