"""A daemon for the duration of one `gpujobs run`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.errors import MachineError


@contextmanager
def embedded_daemon(flags: dict[str, Any], socket: Path) -> Iterator[Client]:
    """A client of a daemon of our own. At the end it is told that we are done: it closes then, or,
    where somebody else submits to it meanwhile, when their jobs have ended.

    The daemon holds the reading end of the lifeline: when this process goes, it sees the end of file.
    Raises MachineError, with what the daemon said last, where it does not come up.
    """
    ready_read, ready_write = os.pipe()
    lifeline_read, lifeline_write = os.pipe()
    command = [sys.executable, "-P", "-m", "gpujobs", "serve", "--embedded"]
    command += ["--ready-fd", str(ready_write), "--lifeline-fd", str(lifeline_read)]
    for key in ("state_dir", "socket", "config", "cpu_slots"):
        if flags.get(key) is not None:
            command += [f"--{key.replace('_', '-')}", str(flags[key])]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=(ready_write, lifeline_read),
        start_new_session=True,  # Ctrl-C on the terminal is ours to pass on.
    )
    os.close(ready_write)
    os.close(lifeline_read)
    try:
        _wait_ready(process, ready_read)
        client = connect([socket])
        yield client
    finally:
        os.close(lifeline_write)


def _wait_ready(process: subprocess.Popen[bytes], ready_read: int) -> None:
    with os.fdopen(ready_read, "rb") as ready:
        if ready.readline():
            return
    raise MachineError(
        f"the embedded daemon ended (exit code {process.wait()}) before it answered; "
        "its messages stand above; `gpujobs doctor` checks the installation."
    )
