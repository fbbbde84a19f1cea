"""Copies of the tree, with environments of their own, in which faults are planted; the tree is never touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

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
    def __init__(self, root: Path, number: int, through: Sequence[str] = ()) -> None:
        self._through = through
        self.directory = root / PLACE / str(number)
        shutil.rmtree(self.directory, ignore_errors=True)
        for name in _files(root):
            target = self.directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        self.python = _environment(self.directory)
        self._running: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        file = self.directory / mutant.module
        source = file.read_bytes()
        try:
            self._write(file, mutant.apply(source))
            yield
        finally:
            self._write(file, source)

    def test(self, tests: Sequence[str], seconds: float) -> Outcome:
        """Runs test files, or tests by their names, up to the first that fails."""
        report = self.directory / "failed"
        report.unlink(missing_ok=True)
        command = [
            self.python,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            "-p",
            "mutation.report",
        ]
        process = self._running = subprocess.Popen(
            [*self._through, *map(str, command), f"--timeout={TEST_SECONDS}", *tests],
            cwd=self.directory,
            env=self._environ(report),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return Outcome("a hang", hung=True)
        finally:
            self._end(process)
        if process.returncode in (0, 5):
            return Outcome(None)
        last = said.strip().splitlines()[-1:] or ["pytest ended without a word"]
        return Outcome(report.read_text() if report.exists() else last[0])

    def end(self) -> None:
        """Ends the tests that run, where some do."""
        if self._running is not None:
            self._end(self._running)

    def _environ(self, report: Path) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GPUJOBS"))
        }
        path = f"{self.directory}:{self.directory / 'scripts'}"
        return {
            **kept,
            "PYTHONPATH": path,
            "VIRTUAL_ENV": str(self.python.parent.parent),
            "FAILED": str(report),
        }

    def _write(self, file: Path, source: bytes) -> None:
        """Without the compiled file, which two texts of one second and one length would share."""
        file.write_bytes(source)
        for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            stale.unlink()
        shutil.rmtree(self.directory / ".hypothesis", ignore_errors=True)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Also daemons and trainers of tests that were cut short: all that was started from this copy."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        time.sleep(0 if process.poll() is not None else 1)
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


def _environment(directory: Path) -> Path:
    """An environment that finds the package in the copy, and everything else where it is installed."""
    venv = directory / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", venv], check=True)
    python = venv / "bin/python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    (site / "copy.pth").write_text(f"{directory}\n{sysconfig.get_path('purelib')}\n")
    command = venv / "bin/gpujobs"
    command.write_text(COMMAND.format(python=python))
    command.chmod(0o755)
    return python
