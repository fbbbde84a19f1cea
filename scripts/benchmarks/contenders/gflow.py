"""gflow (PyPI: runqd), with a daemon and a tmux server of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.support.batch import Batch
from benchmarks.support.machine import free_ports, process
from benchmarks.support.peers import ENVIRONMENT
from benchmarks.support.timing import until

NAME = "gflow"
PATH = f"{ENVIRONMENT / 'bin'}:{os.environ.get('PATH', '')}"
DIRECTORIES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMUX_TMPDIR")
READY_SECONDS = 30.0


def missing() -> str | None:
    absent = [name for name in ("gflowd", "gbatch", "tmux") if not shutil.which(name, path=PATH)]
    return f"{', '.join(absent)} not installed (PyPI: runqd; Debian: tmux)" if absent else None


@contextmanager
def session(batch: Batch) -> Iterator[Callable[[], None]]:
    home = dict.fromkeys(DIRECTORIES, str(batch.scratch))
    environment = {**os.environ, **home, "PATH": PATH}
    script = str(batch.write_script())
    # Its jobs run in login shells, which set their own PATH.
    (batch.scratch / ".profile").write_text(f"export PATH='{PATH}'\n")

    def call(*command: str, check: bool = True) -> bool:
        done = subprocess.run(command, env=environment, check=check, capture_output=True)
        return done.returncode == 0

    def run() -> None:
        """One call that submits all jobs, of which as many run at once as there are slots."""
        each = ["--param", f"number={','.join(str(number) for number in range(batch.jobs))}"]
        call("gbatch", *each, "--max-concurrent", str(batch.slots), "--auto-close", script, "{number}")
        batch.wait()

    call("gflowd", "init", "--yes", "--port", str(free_ports(1)[0]))
    with process("gflowd", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        until(lambda: call("gqueue", check=False), READY_SECONDS, "gflowd")
        try:
            yield run
        finally:
            call("tmux", "kill-server", check=False)
