"""A gpujobs daemon to measure, with an empty state directory of its own, and the commands that ask it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from benchmarks.support.machine import ROOT
from benchmarks.support.timing import timed, until
from gpujobs.client import Client, connect
from gpujobs.errors import GpujobsError

TUTORIAL_JOB = ROOT / "jobs" / "tutorial.yaml"
READY_SECONDS = 120.0
STOP_SECONDS = 60.0


def installed_command(tree: Path = ROOT) -> list[str]:
    """`gpujobs` as people type it: the script beside this Python, or beside that of another checkout."""
    beside = Path(sys.executable) if tree == ROOT else tree / ".venv" / "bin" / "python"
    script = beside.with_name("gpujobs")
    return [str(script)] if script.exists() else [str(beside), "-m", "gpujobs"]


class Daemon:
    """`more`: variables of its environment, such as those of a made-up box of GPUs; `config`: its gpujobs.toml.
    `is_site`: it serves everybody, for which we are root. `tree`: the checkout whose daemon it is."""

    def __init__(
        self,
        slots: int,
        more: Mapping[str, str] = MappingProxyType({}),
        *,
        is_site: bool = False,
        config: str = "",
        tree: Path = ROOT,
    ) -> None:
        # Sockets have paths of at most 107 bytes.
        self.root = Path(tempfile.mkdtemp(prefix="gj-"))
        self.root.chmod(0o755 if is_site else 0o700)
        self.slots = slots
        self.state = self.root / "s"
        self.environment = {**environment(self.root, tree), **more}
        self._command = installed_command(tree)
        (self.root / "gpujobs.toml").write_text(config)
        self._kind = ["--web", "127.0.0.1:0"] if is_site else ["--personal"]

    def start(self) -> None:
        """Returns when a job would start at once: Ray is up and TensorFlow is imported."""
        command = [*self._command, "serve", *self._kind, "--cpu-slots", str(self.slots)]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self._is_ready, READY_SECONDS, f"a daemon ({self.root / 'log'})")

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the daemon ended: {(self.root / 'log').read_text()}")
        try:
            with self.client() as client:
                checks = client.get("/v1/doctor")["checks"]
        except GpujobsError:
            return False
        return any(check["name"].startswith("launcher") and check["ok"] for check in checks)

    def stop(self) -> None:
        self.run("stop", "--cancel")
        self._process.wait(STOP_SECONDS)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def socket(self) -> Path:
        return self.state / "gpujobs.sock"

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = connect([self.socket])
        try:
            yield client
        finally:
            client.close()

    def run(self, *arguments: object) -> str:
        """A command's output. Raises CalledProcessError where it fails."""
        command = [*self._command, *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def submit(self, *arguments: object) -> list[int]:
        return [job["id"] for job in json.loads(self.run("submit", "--json", *arguments))]

    def makespan(self, *arguments: object) -> float:
        """Seconds from the submission to the end of the last. Raises CalledProcessError where one does not complete."""
        return timed(lambda: self.run("wait", *self.submit(*arguments)))

    def cancel(self, jobs: list[int]) -> None:
        with self.client() as client:
            client.post("/v1/jobs/cancel", {"ids": jobs})


def environment(root: Path, tree: Path = ROOT) -> dict[str, str]:
    """Whatever the caller has set for a daemon of their own does not count; nor does their configuration."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GPUJOBS_")}
    (root / "gpujobs.toml").touch()
    own = {"GPUJOBS_STATE_DIR": str(root / "s"), "GPUJOBS_CONFIG": str(root / "gpujobs.toml")}
    return {**kept, **own, "PYTHONPATH": str(tree)}


@contextmanager
def running(slots: int, shared: Daemon | None = None) -> Iterator[Daemon]:
    """The shared daemon where there is one, or one for the duration of the block."""
    if shared is not None:
        yield shared
        return
    daemon = Daemon(slots)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
