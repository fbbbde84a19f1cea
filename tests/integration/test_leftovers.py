"""Heads that do not end, and what a killed one leaves."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from gpujobs.cluster.leftovers import end_session

HEAD = """
import sys, time
from pathlib import Path
from gpujobs.cluster.leftovers import become_only_head
become_only_head(Path(sys.argv[1]), float(sys.argv[2]))
print("only", flush=True)
time.sleep(float(sys.argv[3]))
"""


def head(lock: Path, seconds: float, life_seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD, str(lock), str(seconds), str(life_seconds)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_head_waits_for_the_one_before_it(tmp_path: Path) -> None:
    with head(tmp_path / "lock", 60, 1.0) as first:
        assert first.stdout is not None and first.stdout.readline() == "only\n"
        with head(tmp_path / "lock", 60, 0) as second:
            assert second.wait(30) == 0
            assert first.poll() == 0


def test_a_head_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with head(tmp_path / "lock", 60, 1000) as first:
        assert first.stdout is not None and first.stdout.readline() == "only\n"
        began = time.monotonic()
        with head(tmp_path / "lock", 0.2, 0) as second:
            assert second.wait(30) == 0
        assert first.wait(5) == -9
        assert time.monotonic() - began > 0.2


def test_the_processes_of_a_killed_head_are_ended() -> None:
    command = "sleep 1000 & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        leader.kill()
        leader.wait()
        assert Path(f"/proc/{child}").exists()
        end_session(leader.pid)
        assert leader.stdout.read() == ""  # the pipe's last writer has ended
