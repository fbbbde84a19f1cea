"""News for a command: as JSON on its standard input, and in short in its environment."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess

from gpujobs.protocol.news import Delivery, Outcome
from gpujobs.sender import failed, line_of, sent

TAIL_BYTES = 4096
"""Of what it prints, its last line is kept."""

NO_SUCH = (FileNotFoundError, PermissionError, NotADirectoryError)


def load(order: Delivery) -> None:
    """All is there."""


def environment(order: Delivery) -> dict[str, str]:
    """Clean: nothing of the daemon's."""
    return {
        "HOME": order.identity.home,
        "USER": order.user,
        "LOGNAME": order.user,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
        **order.environment,
    }


def send(order: Delivery) -> Outcome:
    """It has told them where its exit code is 0."""
    home = order.identity.home if os.path.isdir(order.identity.home) else "/"  # noqa: PTH112
    return run(order.to, json.dumps(order.news).encode() + b"\n", environment(order), home)


def run(words: tuple[str, ...], text: bytes, variables: dict[str, str], directory: str) -> Outcome:
    """What came of it does not name the program: who shows it does."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=directory,
        )
    except OSError as error:
        return failed(error.strerror, again=not isinstance(error, NO_SUCH))
    last = line_of(last_line(_tail(process, text)))
    if process.wait() == 0:
        return sent(last)
    ended = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
    return failed(f"{ended}: {last}" if last else ended)


def _tail(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """The end of what it prints until it ends, whatever it leaves behind that could print more."""
    assert process.stdin is not None and process.stdout is not None
    output, ended, source = process.stdout.fileno(), os.pidfd_open(process.pid), process.stdin.fileno()
    os.set_blocking(source, False)
    os.set_blocking(output, False)
    tail, rest = b"", text
    while True:
        readable, writable, _ = select.select([output, ended], [source] if rest else [], [])
        if writable:
            rest = _write(source, rest)
            if not rest:
                process.stdin.close()
        chunk = _read(output) if output in readable or ended in readable else None
        tail = (tail + (chunk or b""))[-TAIL_BYTES:]
        if chunk == b"" or (ended in readable and chunk is None):
            break
    if rest:
        process.stdin.close()
    process.stdout.close()
    os.close(ended)
    return tail


def _write(descriptor: int, text: bytes) -> bytes:
    """What is left; nothing where nobody reads it."""
    try:
        return text[os.write(descriptor, text[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return b""


def _read(descriptor: int) -> bytes | None:
    """Empty at the end; None where there is nothing now."""
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 1 << 16)
    return None


def last_line(text: bytes) -> bytes:
    return (text.strip().splitlines() or [b""])[-1]
