"""A daemon for the duration of one `gpujobs run`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.errors import DaemonUnreachableError, MachineError

SOCKET_SECONDS = 10.0
"""From a daemon's lock to its socket, at most."""


@contextmanager
def embedded_daemon(flags: dict[str, Any], socket: Path) -> Iterator[Client]:
    """A client of a daemon of our own. At the end it is told that we are done: it closes then, or,
    where somebody else submits to it meanwhile, when their jobs have ended.

    The daemon holds the reading end of the lifeline: when this process goes, it sees the end of file.
    Where somebody else has started one at the same moment, it is theirs. Raises MachineError, with what the daemon
    said last, where it does not come up.
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
        another = _wait_ready(process, ready_read)
        client = _client_of_another(socket, another) if another else connect([socket])
        yield client
    finally:
        os.close(lifeline_write)


def _wait_ready(process: subprocess.Popen[bytes], ready_read: int) -> str:
    """What it says of another daemon, which was faster; empty where there is none."""
    with os.fdopen(ready_read, "rb") as ready:
        said = ready.readline().decode().strip()
    if said == "ready":
        return ""
    code = process.wait()
    if said:
        return said
    raise MachineError(
        f"the embedded daemon ended (exit code {code}) before it answered; "
        "its messages stand above; `gpujobs doctor` checks the installation."
    )


def _client_of_another(socket: Path, said: str) -> Client:
    """It may have its lock already, and its socket in a moment."""
    deadline = time.monotonic() + SOCKET_SECONDS
    while True:
        try:
            return connect([socket])
        except DaemonUnreachableError:
            if time.monotonic() > deadline:
                raise MachineError(said) from None
        time.sleep(0.05)
