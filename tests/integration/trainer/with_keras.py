"""Programs of tests, each in a process of its own, forked off one that has imported Keras with TensorFlow, as trainers
are: the import takes longer than what most of them do. Where a fresh interpreter is what is shown, start one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import json, os, sys, traceback
from gpujobs.supervise import preload

preload.load()

def run(code, arguments, output, errors):
    for number, path, how in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY), (2, errors, os.O_WRONLY)):
        os.dup2(os.open(path, how), number)
    sys.argv = ["-c", *arguments]
    status = 1
    try:
        exec(compile(code, "<program>", "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

for line in sys.stdin:
    child = os.fork()
    if not child:
        run(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class WithKeras:
    """Called as `python -c CODE ARGUMENTS…` would be."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self._process, self._directory = process, directory

    def __call__(self, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        output, errors = (self._directory / name for name in ("output", "errors"))
        output.write_text("")
        errors.write_text("")
        asked = [code, list(map(str, arguments)), str(output), str(errors)]
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(asked, status, output.read_text(), errors.read_text())


@contextmanager
def with_keras(installation: Path, directory: Path) -> Iterator[WithKeras]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**os.environ, "PYTHONPATH": str(installation), "KERAS_BACKEND": "tensorflow",
             "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield WithKeras(process, directory)
