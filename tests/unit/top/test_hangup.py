"""The end of a terminal, told to a process that it does not control."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from gpujobs.top import hangup
hangup.PATIENCE_SECONDS = 0.05
def fail(): raise SystemExit  # a thread's end, without a word
hangup.watch(0, {"waits": threading.Event().wait, "fails": fail}[sys.argv[1]])
print("watches", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("end", ["waits", "fails"])
def test_the_process_ends_though_what_should_end_it_never_returns_or_fails(end: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, end], stdin=theirs, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        os.close(theirs)
        assert process.stdout is not None and process.stdout.readline() == b"watches\n"
        assert process.poll() is None
        os.close(ours)
        try:
            assert process.wait(20) == 128 + signal.SIGHUP
        finally:
            process.kill()
