"""The launcher of a backend: Keras imported with it, CUDA untouched; it forks supervisors and inspections off.

`python -m gpujobs.supervise.launcher --socket PATH [--backend jax]`. It listens before it imports, so that
requests wait in the socket's queue meanwhile, and exits when its standard input closes.
"""

from __future__ import annotations

import argparse
import gc
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gpujobs import failpoints
from gpujobs.backends import JAX, TENSORFLOW
from gpujobs.linux import sockets
from gpujobs.protocol import codec
from gpujobs.protocol.codec import Message
from gpujobs.protocol.launcher import (
    OPS,
    CompareFiles,
    Forked,
    InspectJob,
    Op,
    PingLauncher,
    Refused,
    StartAttempt,
    Versions,
)

ROOM = "GPUJOBS_TITLE_ROOM"
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
OWN = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true", "PYTHONDONTWRITEBYTECODE": "1"}
REQUEST_MAX_BYTES = 16 << 20
REQUEST_SECONDS = 5.0
IDLE_SECONDS = 0.5


def execute_with_room(backend: str) -> None:
    """Executes this program again, once, with a clean environment and room to rewrite it in place."""
    if ROOM in os.environ:
        return
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    environment = {**kept, **failpoints.inherited(), **OWN, "KERAS_BACKEND": backend, ROOM: "." * 8192}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpujobs.supervise.launcher")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--backend", choices=(TENSORFLOW, JAX), default=TENSORFLOW)
    arguments = parser.parse_args()
    execute_with_room(arguments.backend)
    listener = sockets.listen(arguments.socket.absolute())
    os.environ["MPLCONFIGDIR"] = str(arguments.socket.absolute().parent / "matplotlib")  # its list of fonts
    from gpujobs.supervise import preload
    from gpujobs.trainer import quiet

    gc.disable()  # imports make millions of objects, all to stay: looking through them takes a fifth of the time
    with quiet.without(quiet.CHATTER):
        preload.load()
    gc.collect()
    gc.freeze()
    gc.enable()
    serve(listener, when_idle=preload.warm)


def serve(listener: socket.socket, when_idle: Callable[[], None]) -> None:
    """Answers one connection after the other; blocks, using no CPU, while there is none. `when_idle` is called once,
    when nobody has asked for anything for a moment."""
    wakeup, wakeup_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        for source in (listener.fileno(), wakeup, 0):
            selector.register(source, selectors.EVENT_READ)
        moment: float | None = IDLE_SECONDS
        while True:
            events = selector.select(moment)
            if not events:
                when_idle()
                moment = None
            for key, _ in events:
                if key.fd == 0 and not os.read(0, 4096):
                    return
                if key.fd == wakeup:
                    os.read(wakeup, 4096)
                    reap()
                if key.fd == listener.fileno():
                    with listener.accept()[0] as connection:
                        answer(connection)


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def answer(connection: socket.socket) -> None:
    try:
        connection.settimeout(REQUEST_SECONDS)
        reply = carry_out(read_op(connection), connection)
    except Exception as error:  # noqa: BLE001 - the launcher serves everybody; the asker gets the error
        reply = Refused({"code": "launch", "message": f"{type(error).__name__}: {error}"})
    if reply is not None:
        send(connection, reply)


def read_op(connection: socket.socket) -> Op:
    """Raises ShapeError, which names the field that is wrong."""
    data = b""
    while not data.endswith(b"\n"):
        chunk = connection.recv(1 << 16)
        if not chunk or len(data) > REQUEST_MAX_BYTES:
            raise ValueError("expected one JSON line of at most 16 MiB")
        data += chunk
    return OPS.parse(data)


def send(connection: socket.socket, reply: Message) -> None:
    try:
        connection.sendall(codec.encode(reply) + b"\n")
    except OSError:
        return  # the asker has gone


def carry_out(op: Op, connection: socket.socket) -> Message | None:
    """The answer; None where a forked child answers on the connection itself."""
    match op:
        case PingLauncher():
            from gpujobs.trainer.backends import active

            return Versions(os.getpid(), active.versions())
        case StartAttempt():
            return Forked(start(op.attempt_dir, op.notify))
        case InspectJob():
            from gpujobs.supervise import inspection

            fork(lambda: inspection.answer(op.spec, connection.detach()))
            return None
        case CompareFiles():
            from gpujobs.supervise import comparing

            fork(lambda: comparing.answer(op, connection.detach()))
            return None
    raise ValueError(f"no answer to {op.tag}")


def fork(body: Callable[[], None]) -> int:
    """Runs `body` in a child, with SIGTERM blocked, and ends the child after it. Returns its pid."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    run_child(body)


def run_child(body: Callable[[], None]) -> NoReturn:
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        body()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must never return into the launcher's loop
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def start(attempt_dir: str, notify: str | None) -> int:
    """Forks a supervisor off twice, so that it belongs to init. Returns its pid."""
    from gpujobs.linux import process
    from gpujobs.supervise import child, supervisor

    reader, writer = os.pipe()

    def supervise() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        process.close_all_except()
        supervisor.supervise(attempt_dir, notify, child.run_trainer)

    def intermediate() -> None:
        os.setsid()
        failpoints.reach("launcher.fork")
        os.write(writer, str(fork(supervise)).encode())

    between = fork(intermediate)
    os.close(writer)
    pid = os.read(reader, 32)
    os.close(reader)
    os.waitpid(between, 0)
    if not pid:
        raise OSError("the supervisor could not be forked")
    return int(pid)


if __name__ == "__main__":
    main()
