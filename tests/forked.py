"""Python programs, each in a process of its own, forked off one that has imported already what they import: that takes
longer than what most of them do. Where a fresh interpreter is what is shown, start one."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SERVER = """
import json, os, select, signal, socket, sys, time, traceback

{preload}

def run(request):
    for number, path, how in ((0, os.devnull, os.O_RDONLY), (1, request["output"], os.O_WRONLY),
                              (2, request["errors"], os.O_WRONLY)):
        os.dup2(os.open(path, how), number)
    os.chdir(request["cwd"])
    if request["environment"] is not None:
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
    sys.argv = request["arguments"]
    status = 1
    try:
        exec(compile(request["code"], "<program>", "exec"), {{"__name__": "__main__"}})
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)

def answer(connection):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rwb") as file:
        request = json.loads(file.readline())
        child = os.fork()
        if not child:
            run(request)
        file.write(b"%d\\n" % child)
        file.flush()
        file.write(b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0)

listener = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while listener in select.select([0, listener], [], [])[0]:
    connection = listener.accept()[0]
    if not os.fork():
        try:
            answer(connection)
        except OSError:  # the asker has gone
            os._exit(1)
    connection.close()
listener.close()
"""


class Started:
    """A program that was forked off, as `subprocess.Popen` has it. What it says of errors is ours when it has ended."""

    def __init__(self, pid: int, connection: int, errors: Path) -> None:
        """`connection`: where its status comes as a line."""
        self.pid = pid
        self.returncode: int | None = None
        self._connection, self._errors = connection, errors

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return status

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], seconds)[0]:
            self.returncode = int(os.read(self._connection, 64))
            os.close(self._connection)
            sys.stderr.write(self._errors.read_text())
            self._errors.unlink()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, which is not told yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forking:
    """Started when it is first asked, and gone with this process. `preload` is what it runs before; `environment`
    what it is started with besides our own."""

    def __init__(self, preload: str, environment: Mapping[str, str]) -> None:
        self._preload, self._environment = preload, environment
        self._directory: Path | None = None

    def _start(self) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="gj-"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(directory / "s"))
            listener.listen(64)
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", SERVER.format(preload=self._preload), str(listener.fileno())],
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        atexit.register(_end, process, directory, os.getpid())
        return directory

    def run(
        self,
        code: str,
        *arguments: object,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 250.0,
    ) -> subprocess.CompletedProcess[str]:
        """As `python -c CODE ARGUMENTS…` would. `environment`: instead of the server's."""
        if self._directory is None:
            self._directory = self._start()
        words = ["-c", *map(str, arguments)]
        with (
            tempfile.TemporaryDirectory(dir=self._directory) as place,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            output, errors = (Path(place, name) for name in ("output", "errors"))
            output.touch()
            errors.touch()
            request = {
                "code": code, "arguments": words, "cwd": str(cwd or Path.cwd()), "output": str(output),
                "errors": str(errors), "environment": None if environment is None else dict(environment),
            }  # fmt: skip
            connection.connect(str(self._directory / "s"))
            with connection.makefile("rwb") as file:
                file.write(json.dumps(request).encode() + b"\n")
                file.flush()
                child = int(file.readline())
                if not select.select([connection], [], [], timeout)[0]:
                    os.kill(child, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(words, timeout)
                status = int(file.readline())
            return subprocess.CompletedProcess(words, status, output.read_text(), errors.read_text())

    def start(self, code: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Started:
        """Returns when it has been forked off; what it prints is nobody's. `environment`: instead of the server's."""
        if self._directory is None:
            self._directory = self._start()
        number, errors = tempfile.mkstemp(dir=self._directory)
        os.close(number)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._directory / "s"))
            request = {
                "code": code, "arguments": ["-c", *map(str, arguments)], "cwd": str(Path.cwd()), "output": os.devnull,
                "errors": errors, "environment": None if environment is None else dict(environment),
            }  # fmt: skip
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb", buffering=0) as file:
                child = int(file.readline())
            return Started(child, connection.detach(), Path(errors))


def _end(process: subprocess.Popen[bytes], directory: Path, owner: int) -> None:
    """Not in what was forked off. It has nothing to leave in order, which with TensorFlow takes seconds."""
    if os.getpid() != owner:
        return
    assert process.stdin is not None
    process.stdin.close()
    process.kill()
    process.wait()
    shutil.rmtree(directory)
