"""Words into a log that cannot be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = "from gpujobs.linux.saying import say; say('the disk is full'); print('goes on')"


def test_a_log_on_a_full_disk_stops_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=full, text=True)
    assert done.stdout == "goes on\n"
