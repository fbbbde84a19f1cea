"""A real daemon for tests: started, killed, restarted, asked through the real command line."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from gpujobs.client import Client, connect
from gpujobs.errors import GpujobsError
from gpujobs.paths import StatePaths
from tests.command import RUN, WARNING

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-P", "-m", "gpujobs")
READY_SECONDS = 90.0
PACED = {"GPUJOBS_FAILPOINTS": "trainer.batch=pause:0.03"}
"""A training waits after each batch: what runs until a test ends it leaves the cores to others meanwhile. A daemon that
serves a site disarms it."""
UNPACED = {"GPUJOBS_FAILPOINTS": ""}
"""For trainings of many batches."""

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY")
ENDLESS = 1_000_000
"""Epochs of a job that is still running when the test ends it."""


def eventually(
    what: Callable[[], Any], seconds: float = 60.0, describe: Callable[[], str] = lambda: "no more is known"
) -> Any:
    """Polls until `what` is true and returns it; fails with `describe()` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {describe()}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def cpu_ticks(pid: int) -> int:
    """User and system time of a process, in clock ticks."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def processes_of(directory: Path) -> dict[int, str]:
    """pid and command line of every process that has to do with `directory`: by its arguments, its
    environment, its working directory or a file that it holds open."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _has_to_do_with(entry, str(directory)):
            with suppress(OSError):  # it has just ended
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def ray_program(command: str) -> str | None:
    """The name of a program of Ray's, by its command line."""
    words = command.split()
    if words and words[0].startswith("ray::"):
        return words[0]
    return next((word.rpartition("/")[2] for word in words[:4] if "/ray/" in word), None)


def kill_all(pids: Iterable[int]) -> None:
    """Some may end meanwhile: one that is killed takes others along."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _has_to_do_with(process: Path, directory: str) -> bool:
    try:
        if any(directory.encode() in (process / name).read_bytes() for name in ("cmdline", "environ")):
            return True
        links = [process / "cwd", *(process / "fd").iterdir()]
        return any(str(link.readlink()).startswith(directory) for link in links)
    except OSError:
        return False  # it has just ended


def short_directory() -> Path:
    """Sockets have paths of at most 107 bytes, and Ray's are long: pytest's own directories are too."""
    return Path(tempfile.mkdtemp(prefix="gj-"))


def write_job(
    directory: Path,
    name: str = "quick",
    *,
    epochs: int = 2,
    units: int | None = None,
    batch_size: int = 6,
    more: str = "",
) -> Path:
    """A job file for the tutorial's data, small enough to be traced and trained in a second. `units`: of an LSTM; None:
    without one, which is traced in half of the time."""
    data = directory / "tutorial.npz"
    if not data.exists():
        data.write_bytes((ROOT / "jobs/data/tutorial.npz").read_bytes())
    path = directory / f"{name}.yaml"
    path.write_text(
        f"name: {name}\n"
        "data:\n  train: tutorial.npz\n"
        "model:\n  layers:\n"
        f"    - {'Flatten: {}' if units is None else f'LSTM: {{units: {units}}}'}\n"
        "    - Dense: {units: 4, activation: sigmoid}\n"
        "training:\n  loss: binary_crossentropy\n"
        f"  epochs: {epochs}\n  batch_size: {batch_size}\n"
        "predict: [train]\n" + more
    )
    return path


class RunningDaemon:
    """`gpujobs serve` in a directory of its own. `state` and `socket` are where its state is; `config` is the
    text of its gpujobs.toml; `cwd` and `umask` are what it is started with, `within` a program that becomes it."""

    def __init__(
        self,
        root: Path,
        *,
        slots: int = 2,
        site: bool = False,
        state: Path | None = None,
        environment: Mapping[str, str] | None = None,
        config: str = "",
        cwd: Path | None = None,
        umask: int = -1,
        within: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.flags = flags
        self.state = state or root / "s"
        self.paths = StatePaths(self.state)
        self.socket = self.state / "gpujobs.sock"
        self.site = site
        self.slots = slots
        self.log = root / "serve.log"
        self.cwd = cwd or root
        self.umask = umask
        self.within = within
        (root / "home").mkdir(exist_ok=True)
        (root / "gpujobs.toml").write_text(config)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("GPUJOBS_", "XDG_"))},
            **PACED,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "default",
            "HOME": str(root / "home"),
            "GPUJOBS_STATE_DIR": str(self.state),
            "GPUJOBS_CONFIG": str(root / "gpujobs.toml"),
            "COLUMNS": "80",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def seen_from(self, directory: Path) -> Self:
        """The same, for tests whose files are there."""
        directory.mkdir()
        other = copy.copy(self)
        other.root = directory
        return other

    # Its life

    def start(self, *, wait: bool = True) -> None:
        kind = () if self.site else ("--personal",)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.within, *COMMAND, "serve", *kind, "--cpu-slots", str(self.slots), *self.flags],
                env=self.environment,
                cwd=self.cwd,
                umask=self.umask,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        eventually(self._is_ready, READY_SECONDS, self.story)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"the daemon ended with exit code {self._process.returncode}: {self.story()}")
        try:
            nodes = self.get("/v1/info")["nodes"]
        except GpujobsError:
            return False
        return bool(nodes) and all(node["status"] == "ok" for node in nodes)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill9(self) -> None:
        """The daemon alone; what it has started is left as it is."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def restart(self) -> None:
        self.kill9()
        self.start()

    def wait_end(self, seconds: float = 60.0) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ends the daemon and its jobs, and fails where a process is left behind."""
        if self.is_running():
            self.cli("stop", "--cancel", timeout=60)
            self.wait_end()
        try:
            eventually(lambda: not self.processes(), 20, lambda: f"left behind: {self.processes()}")
        finally:
            kill_all(self.processes())

    def processes(self) -> dict[int, str]:
        return processes_of(self.state)

    # Asking it

    @contextmanager
    def client(self) -> Iterator[Client]:
        with closing(connect([self.socket])) as client:
            yield client

    def get(self, path: str, **query: object) -> dict[str, Any]:
        with self.client() as client:
            return client.get(path, **query)

    def cli(
        self, *arguments: object, code: int | None = None, timeout: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command, forked off a process that has imported it (`popen` starts one anew). `code` is the exit code
        that it must have."""
        done = WARNING.run(
            RUN, *arguments, cwd=cwd or self.root, environment=self.environment, timeout=timeout
        )
        if code is not None and done.returncode != code:
            pytest.fail(f"{arguments}: exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}")
        return done

    def popen(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            cwd=self.root,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def json(self, *arguments: object) -> Any:
        return json.loads(self.cli(*arguments, "--json", code=0).stdout)

    def submit(self, *arguments: object) -> list[int]:
        """The ids of the new jobs."""
        return [job["id"] for job in self.json("submit", *arguments)]

    def submit_quick(self, name: str = "quick", *options: object, **fields: Any) -> int:
        (job,) = self.submit(write_job(self.root, name, **fields), *options)
        return job

    def job(self, job: int) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"/v1/jobs/{job}")["job"]
        return answer

    def show(self, job: int) -> dict[str, Any]:
        return self.get(f"/v1/jobs/{job}")

    def until(self, job: int, *states: str, seconds: float = 60.0) -> dict[str, Any]:
        """The job, once it is in one of these states. Fails at once where it has ended in another."""

        def reached() -> dict[str, Any] | None:
            found = self.job(job)
            if found["state"] in FINAL and found["state"] not in states:
                pytest.fail(f"job {job} ended {found['state']}, not {states}: {self.story([job])}")
            return found if found["state"] in states else None

        found: dict[str, Any] = eventually(reached, seconds, lambda: self.story([job]))
        return found

    def until_epoch(self, job: int, epoch: int) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.until(job, "PENDING", "STARTING", "RUNNING")
            progress = found["progress"] or {}
            return found if found["state"] == "RUNNING" and progress.get("epoch", 0) >= epoch else None

        found: dict[str, Any] = eventually(reached, 60, lambda: self.story([job]))
        return found

    def record(self, job: int, attempt: int = 1) -> dict[str, Any]:
        """The supervisor's record of an attempt that runs."""
        answer: dict[str, Any] = json.loads(self.paths.job(job).attempt(attempt).record.read_text())
        return answer

    def job_log(self, job: int, *options: object) -> str:
        return self.cli("logs", job, *options, code=0).stdout

    def everything(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.json("status", "--all")
        return answer

    def known(self) -> list[int]:
        """The ids of all jobs."""
        return [job["id"] for job in self.get("/v1/jobs", all=1)["jobs"]]

    # When a test fails

    def story(self, jobs: Sequence[int] = ()) -> str:
        """The history of the jobs and what the daemon and its helpers have said."""
        parts = []
        for job in jobs or self._known_jobs():
            try:
                shown = self.show(job)
                parts.append(f"job {job}: {json.dumps(shown['job'])}")
                parts += [f"  {json.dumps(event)}" for event in shown["events"]]
            except GpujobsError as error:
                parts.append(f"job {job}: {error}")
        for log in (self.log, *self.paths.run.glob("launcher-*.log"), self.paths.run / "head.log"):
            if log.exists():
                parts.append(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
        return "\n".join(parts)

    def _known_jobs(self) -> list[int]:
        try:
            return self.known()[-5:]
        except GpujobsError:
            return []
