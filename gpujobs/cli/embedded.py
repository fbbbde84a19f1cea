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
from gpujobs.errors import DaemonUnreachableError, GpujobsError, MachineError

STOP_SECONDS = 60


@contextmanager
def embedded_daemon(flags: dict[str, Any], socket: Path) -> Iterator[Client]:
    """A client of a daemon of our own, which is stopped at the end, its jobs cancelled.

    The daemon holds the reading end of the lifeline: when this process goes, it sees the end of file.
    Raises MachineError, with what the daemon said last, where it does not come up.
    """
    ready_read, ready_write = os.pipe()
    lifeline_read, lifeline_write = os.pipe()
    command = [sys.executable, "-m", "gpujobs", "serve", "--embedded"]
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
        _stop(client)
    finally:
        os.close(lifeline_write)
        _wait_end(process)


def _wait_ready(process: subprocess.Popen[bytes], ready_read: int) -> None:
    with os.fdopen(ready_read, "rb") as ready:
        if ready.readline():
            return
    raise MachineError(
        f"the embedded daemon ended (exit code {process.wait()}) before it answered; "
        "its messages stand above; `gpujobs doctor` checks the installation."
    )


def _stop(client: Client) -> None:
    try:
        client.post("/v1/stop", {"mode": "cancel"})
    except DaemonUnreachableError:
        pass  # It closed the connection by ending, which was the wish.
    except GpujobsError as error:
        raise MachineError(f"the embedded daemon would not stop: {error.message}") from error


def _wait_end(process: subprocess.Popen[bytes]) -> None:
    """Lets it end by itself; the daemon's trainers live in processes of their own, so it may be killed."""
    for insist in (process.terminate, process.kill):
        try:
            process.wait(STOP_SECONDS)
            return
        except subprocess.TimeoutExpired:
            insist()
    process.wait()
