"""Asking for a launcher on a box that has joined: whoever keeps them there (`gpujobs node join`) hears datagrams."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from gpujobs.errors import LauncherError, in_words
from gpujobs.linux import durable
from gpujobs.linux.sockets import short_path


def listen(path: Path) -> socket.socket:
    durable.make_way(path)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with short_path(path) as name:
        made.bind(name)
    return made


USE, SUSPECT = "use", "suspect"


def ask(path: Path, backend: str) -> None:
    """Returns at once: who needs the launcher waits at its own socket. Raises LauncherError where nobody keeps any."""
    _say(path, f"{USE} {backend}")


def suspect(path: Path, backend: str) -> None:
    """It has not answered: whoever keeps it looks whether it hangs, and replaces it then. Raises as `ask`."""
    _say(path, f"{SUSPECT} {backend}")


def heard(listening: socket.socket) -> tuple[str, str]:
    """What was said: USE or SUSPECT, and the backend. Raises BlockingIOError where nothing was."""
    word, _, backend = listening.recv(64).decode(errors="replace").partition(" ")
    return word, backend


def _say(path: Path, words: str) -> None:
    with contextlib.closing(
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    ) as sender:
        try:
            with short_path(path) as name:
                sender.sendto(words.encode(), name)
        except OSError as error:
            raise LauncherError(f"`gpujobs node join` does not run on this box: {in_words(error)}") from error
