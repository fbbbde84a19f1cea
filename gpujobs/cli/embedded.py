"""A daemon for the duration of one `gpujobs run`."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from gpujobs.client import Client, connect
from gpujobs.errors import DaemonUnreachableError, MachineError

READY_SECONDS = 120.0
"""For a daemon of our own to answer, at most; it takes one on a machine that is not busy."""

PATIENCE_SECONDS = 10.0
"""After which it is said that it is waited for."""

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


def _wait_ready(process: subprocess.Popen[bytes], ready_read: int, seconds: float = READY_SECONDS) -> str:
    """What it says of another daemon, which was faster; empty where there is none. Raises MachineError, and ends it,
    where it says nothing within these seconds."""
    with os.fdopen(ready_read, "rb") as ready:
        if not _answers(ready, seconds):
            process.kill()
            process.wait()
            raise MachineError(
                f"the embedded daemon did not answer within {seconds:g} s and was ended; a state directory on a slow "
                "or hung file system, or a machine without memory, may be why: `gpujobs doctor` checks both."
            )
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


def _answers(ready: IO[bytes], seconds: float) -> bool:
    """Whether there is something to read, or the end, within these seconds; says that it waits."""
    if select.select([ready], [], [], min(seconds, PATIENCE_SECONDS))[0]:
        return True
    click.echo(
        f"gpujobs: the embedded daemon has not answered yet; waiting for it for up to {seconds:g} s", err=True
    )
    return bool(select.select([ready], [], [], max(0.0, seconds - PATIENCE_SECONDS))[0])


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
