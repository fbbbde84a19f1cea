"""TensorBoard within this process, for its user alone.

A port of this machine is open to all its users, and TensorBoard asks nobody who they are. So each connection's other
end must be this user's by what the kernel says (as on the daemon's own pages), and the address has a secret part, which
keeps out what the user's own browser may be told to ask by others' pages. TensorBoard's own program would show the
secret in `ps` and in /tmp/.tensorboard-info, and its data server listens on a second port that nothing guards: neither
is used.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import sys
import types
from pathlib import Path

from gpujobs.daemon.web.peers import uid_of_peer
from gpujobs.errors import MachineError, UsageError

ADDRESS = "127.0.0.1"


def require() -> None:
    """Raises MachineError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MachineError(
            f"TensorBoard is not installed beside gpujobs; `{sys.executable} -m pip install tensorboard` adds it "
            "(the extra gpujobs[tensorboard] does, too); `gpujobs plot` draws the same curves without it."
        )


def serve(directory: Path, port: int) -> str:
    """The address; it is served by threads of this process until that ends. `port`: 0 for a free one. Raises
    UsageError where it is taken."""
    do_without_tensorflow()
    from tensorboard import program

    class Server(program.WerkzeugServer):  # type: ignore[misc]
        """Hangs up on others before they have a thread, of which they could take as many as there are."""

        def verify_request(self, request: socket.socket, _: object) -> bool:
            return is_of(os.getuid(), request)

    board = program.TensorBoard(server_class=Server)
    board.configure(
        logdir=str(directory),
        host=ADDRESS,
        port=port,
        path_prefix=f"/{secrets.token_urlsafe(24)}",
        load_fast="false",
    )
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise UsageError(f"{error.msg}; --port names another, and none a free one") from None


def do_without_tensorflow() -> None:
    """TensorBoard looks for a module of this name; TensorFlow would take seconds and half a GiB."""
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


def is_of(uid: int, connection: socket.socket) -> bool:
    """Whether the other end is that user's, or root's."""
    try:
        return uid_of_peer(connection) in (uid, 0)
    except OSError:  # it has gone already
        return False
