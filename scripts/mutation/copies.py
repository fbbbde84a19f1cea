"""Copies of the tree, with environments of their own, in which faults are planted; the tree is never touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mutation.forking import TIME_IS_UP
from mutation.operators import Mutant

PLACE = Path("build/mutants")
TEST_SECONDS = 90
"""A single test that takes longer hangs: the slowest takes a third of that on two busy cores."""

COMMAND = """#!{python}
import sys
from gpujobs.cli.main import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed`: the first test that did, as pytest names it; None where all passed. `hung`: the time was up."""

    failed: str | None
    hung: bool = False


class Copy:
    def __init__(self, root: Path, name: str, through: Sequence[str] = ()) -> None:
        self._through = through
        self.directory = root / PLACE / name
        shutil.rmtree(self.directory, ignore_errors=True)
        for file in _files(root):
            target = self.directory / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / file, target)
        self.python = _environment(self.directory)
        self._running: subprocess.Popen[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def site(self) -> Path:
        return _site(self.directory / ".venv")

    @contextlib.contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        file = self.directory / mutant.module
        source = file.read_bytes()
        try:
            self._write(file, mutant.apply(source))
            yield
        finally:
            self._write(file, source)

    def test(self, tests: Sequence[str], seconds: float, *, each: float = TEST_SECONDS) -> Outcome:
        """Runs test files, or tests by their names, up to the first that fails. `each`: what one of them may take."""
        report = self.directory / "failed"
        report.unlink(missing_ok=True)
        options = ["-x", f"--timeout={each:.0f}", "-p", "mutation.report"]
        status = self.run([*options, *tests], seconds, FAILED=str(report))
        if status == TIME_IS_UP:
            return Outcome("a hang", hung=True)
        if status in (0, 5):
            return Outcome(None)
        last = self.said.read_text(errors="replace").strip().splitlines()[-1:] or [
            "pytest ended without a word"
        ]
        return Outcome(report.read_text() if report.exists() else last[0])

    @property
    def said(self) -> Path:
        return self.directory / "said"

    def run(self, arguments: Sequence[str], seconds: float, **environment: str) -> int:
        """pytest's status, or `TIME_IS_UP`."""
        socket = self._serving()
        process = self._running = subprocess.Popen(
            [
                *self._through,
                str(self.python),
                "-m",
                "mutation.forking",
                str(socket),
                str(seconds),
                str(self.said),
            ],
            cwd=self.directory,
            env={**self._environ(), **environment},
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(["-q", "--tb=no", "-p", "no:cacheprovider", *arguments]))
        finally:
            self._end(process)
        return process.returncode

    def end(self) -> None:
        """Ends the tests that run, where some do, and what they are forked off."""
        if self._running is not None:
            self._end(self._running)
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def _serving(self) -> Path:
        """The socket of the process that tests are forked off, which is started when it is first needed."""
        socket = Path(tempfile.gettempdir()) / f"gj-mutants-{os.getpid()}-{self.directory.name}"
        if self._server is None:
            environment = {name: value for name, value in self._environ().items() if name != "VIRTUAL_ENV"}
            self._server = subprocess.Popen(
                [self.python, "-W", "ignore", "-m", "mutation.forking", socket],
                cwd=self.directory,
                env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdin=subprocess.PIPE,
                stdout=self.said.with_name("server").open("wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            while not socket.exists():
                time.sleep(0.05)
                if self._server.poll() is not None:
                    raise RuntimeError("the process that tests are forked off has ended")
        return socket

    def _environ(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GPUJOBS"))
        }
        path = f"{self.directory}:{self.directory / 'scripts'}"
        return {**kept, "PYTHONPATH": path, "VIRTUAL_ENV": str(self.python.parent.parent)}

    def _write(self, file: Path, source: bytes) -> None:
        """Without the compiled file, which two texts of one second and one length would share."""
        file.write_bytes(source)
        for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            stale.unlink()
        shutil.rmtree(self.directory / ".hypothesis", ignore_errors=True)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Also daemons and trainers of tests that were cut short: all that was started from this copy."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        ours = f"VIRTUAL_ENV={self.python.parent.parent}"
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if ours in Path(f"/proc/{one.pid}/environ").read_text(errors="replace").split("\0"):
                    one.kill()


def _files(root: Path) -> list[str]:
    """What git knows or would add, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def _site(venv: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))


def _environment(directory: Path) -> Path:
    """An environment that finds the package in the copy, and everything else where it is installed."""
    venv = directory / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", venv], check=True)
    python = venv / "bin/python"
    (_site(venv) / "copy.pth").write_text(f"{directory}\n{sysconfig.get_path('purelib')}\n")
    command = venv / "bin/gpujobs"
    command.write_text(COMMAND.format(python=python))
    command.chmod(0o755)
    return python
