"""Runs of pytest in processes forked off one that has imported what all of them import: a run costs what its tests do.

`python -m mutation.forking SOCKET` is the server, in a copy's own environment. `… SOCKET SECONDS OUTPUT` has it run
pytest with the arguments that standard input has as JSON, and ends as that did, or with `TIME_IS_UP`. When this is
killed, so is the run.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

TIME_IS_UP = 124
IMPORTED = ("keras", "tensorflow", "pyarrow.csv", "pyarrow.parquet", "matplotlib", "aiohttp.web", "pydantic",
            "psutil", "click", "cryptography.x509", "pytest")  # fmt: skip
"""Nothing of the package itself, which is what changes, and no plugin of pytest, which is to rewrite its assertions."""


def serve(path: str) -> None:
    """Until standard input closes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        gc.disable()
        for name in IMPORTED:
            with contextlib.suppress(ImportError):  # on a machine without Keras
                importlib.import_module(name)
        gc.freeze()
        gc.enable()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while 0 not in select.select([0, listener.fileno()], [], [])[0]:
            connection = listener.accept()[0]
            if not os.fork():
                listener.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rb") as file:
        request = json.loads(file.readline())
    seconds = request.pop("seconds")
    child = os.fork()
    if not child:
        connection.close()
        _run(**request)
    started = os.pidfd_open(child)
    ready, _, _ = select.select([started, connection.fileno()], [], [], seconds)
    if started not in ready:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # who asked is gone
        connection.sendall(b"%d" % (status if started in ready else TIME_IS_UP))
    os._exit(0)


def _run(arguments: list[str], environment: dict[str, str], output: str, directory: str) -> NoReturn:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(said, number)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.path[:0] = environment["PYTHONPATH"].split(":")
    sys.argv = ["pytest", *arguments]
    status = 70
    try:
        import pytest

        status = int(pytest.main(arguments))
    except BaseException:  # noqa: BLE001 - this process must never return into the server's loop
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def ask(path: str, seconds: float, output: str, arguments: list[str]) -> int:
    """The status with which pytest ended."""
    request = {
        "arguments": arguments, "environment": dict(os.environ), "seconds": seconds, "output": output,
        "directory": str(Path.cwd()),
    }  # fmt: skip
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        return int(connection.recv(16))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], float(sys.argv[2]), sys.argv[3], json.load(sys.stdin)))
