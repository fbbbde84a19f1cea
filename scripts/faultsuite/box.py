"""A daemon in a directory of its own, reached as anybody reaches it: command line, HTTP, its files, its processes.

Nothing of gpujobs is imported here, so that what is proven does not rest on the code that is tried.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).parent / "standin"
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY")
TOLD = "told"
"""A kind of job whose end its user is told of, by a command."""
PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "90"))
"""Seconds after which something has not happened: a stop of 30 s, and then a loaded machine."""


class Failure(Exception):
    """What the suite looks for. `kind`: lost, doubled or wrong."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


def until(what: Callable[[], Any], seconds: float | None = None, why: str = "", kind: str = "lost") -> Any:
    deadline = time.monotonic() + (seconds or PATIENCE)
    while not (found := what()):
        if time.monotonic() > deadline:
            raise Failure(kind, f"not within {seconds or PATIENCE:g} s: {why}")
        time.sleep(0.03)
    return found


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Box:
    """`tree`: the program that is tried. `is_small`: without Ray and Keras (standin/), else with both."""

    def __init__(
        self, tree: Path = ROOT, *, is_small: bool = True, slots: int = 2, root: Path | None = None
    ) -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix="gf-"))
        self.tree, self.is_small, self.slots = tree, is_small, slots
        self.state = self.root / "s"
        self.socket = self.state / "gpujobs.sock"
        self.database = self.state / "gpujobs.db"
        self.log = self.root / "serve.log"
        self.points = self.root / "points"
        self.counts = self.root / "counts"
        self.evidence = self.root / "evidence"
        for directory in (self.root / "home", self.counts, self.evidence):
            directory.mkdir(exist_ok=True)
        (self.root / "gpujobs.toml").write_text("[notify]\nretry_after = 1\n")
        self.news, self.listener = self.evidence / "news", self.root / "listener"
        self.listener.write_text(f'#!/bin/sh\necho "$GPUJOBS_JOB $GPUJOBS_STATE" >> {self.news}\n')
        self.listener.chmod(0o755)
        self.acknowledged: dict[int, dict[str, Any]] = {}
        self.used_before: set[int] = set()
        self.has_attempts: dict[int, int] = {}
        """By job, the attempt that the store does not know and whose files are in its place: its own come after."""
        self.daemon: subprocess.Popen[bytes] | None = None
        self.is_to_run = False
        self.refusal, self.is_refused = "", False
        """What the last submission that was not acknowledged was told."""
        self.numbers = 0
        self.twins: dict[int, Any] = {}
        """By the number of epochs, the results of an undisturbed job (with Keras)."""

    @property
    def environment(self) -> dict[str, str]:
        path = [str(STANDIN)] * self.is_small + [str(self.tree)]
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("GPUJOBS_", "XDG_", "PYTHON"))
        }
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(path),
            "HOME": str(self.root / "home"),
            "GPUJOBS_STATE_DIR": str(self.state),
            "GPUJOBS_CONFIG": str(self.root / "gpujobs.toml"),
        }

    # Its life

    def start(self, wait: bool = True) -> None:
        self.is_to_run = True
        points = {"GPUJOBS_FAILPOINTS": f"@{self.points}", "GPUJOBS_FAILPOINTS_DIR": str(self.counts)}
        with self.log.open("ab") as output:
            self.daemon = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "gpujobs",
                    "serve",
                    "--personal",
                    "--cpu-slots",
                    str(self.slots),
                ],
                env={**self.environment, **points},
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if wait:
            self.ready()

    def keep_up(self) -> None:
        """What a service manager does: a daemon that has ended is started again."""
        if self.is_to_run and self.daemon is not None and self.daemon.poll() is not None:
            self.start(wait=False)

    def ready(self, seconds: float | None = None) -> None:
        def is_ready() -> bool:
            self.keep_up()
            nodes = (self.get("/v1/info") or {}).get("nodes") or []
            return bool(nodes) and all(node["status"] == "ok" for node in nodes)

        until(is_ready, seconds, f"the daemon is ready; {self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-600:] if self.log.exists() else ""

    def kill_daemon(self) -> None:
        assert self.daemon is not None
        self.is_to_run = False
        self.daemon.kill()
        self.daemon.wait()

    def cut_power(self) -> None:
        """Everything that runs here ends at once."""
        if self.daemon is not None:
            self.kill_daemon()
        until(lambda: not kill(self.processes()), 30, "everything has ended")

    def close(self) -> None:
        self.is_to_run = False
        with contextlib.suppress(Failure):
            self.cut_power()
        for path in (self.root, *self.root.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(self.root, ignore_errors=True)

    # Its processes

    def processes(self) -> dict[int, str]:
        return processes_of(self.state, self.root)

    def find(self, *words: str) -> list[int]:
        return [pid for pid, command in self.processes().items() if any(word in command for word in words)]

    # Faults at named points

    def arm(self, text: str) -> None:
        self.disarm()
        for path in self.counts.iterdir():
            path.unlink()
        new = self.points.with_suffix(".new")
        new.write_text(text)
        new.replace(self.points)

    def disarm(self) -> None:
        self.points.unlink(missing_ok=True)

    def reached(self, point: str) -> int:
        path = self.counts / point
        return path.stat().st_size if path.exists() else 0

    # Asking it

    def get(self, path: str, timeout: float = 5.0) -> Any:
        """None where there is no answer."""
        connection = _Connection(self.socket, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.loads(answer.read()) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def cli(self, *arguments: object, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "gpujobs", *map(str, arguments)]
        try:
            return subprocess.run(
                command,
                env=self.environment,
                cwd=self.root,
                capture_output=True,
                text=True,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure("wrong", f"{arguments} has not answered in {timeout} s") from error

    def write_job(self, name: str, epochs: int, seed: int) -> Path:
        data = self.root / f"{name}.npz"
        path = self.root / f"{name}.yaml"
        tutorial = ROOT / "jobs/data/tutorial.npz"
        # Bytes after the end of an archive change its hash and nothing else: each job uploads data of its own.
        data.write_bytes(tutorial.read_bytes() + (name.encode() if self.is_small else b""))
        path.write_text(
            f"name: {name}\ndata: {{train: {data.name}}}\nmodel:\n  layers:\n    - LSTM: {{units: 4}}\n"
            "    - Dense: {units: 4, activation: sigmoid}\ntraining:\n  loss: binary_crossentropy\n"
            f"  epochs: {epochs}\n  seed: {seed}\n  batch_size: 6\npredict: [train]\n"
            + (f"notify: {{on: [end], command: [{self.listener}]}}\n" if name.startswith(TOLD) else "")
        )
        return path

    def submit(
        self, kind: str = "plain", epochs: int = 5, *options: str, expect: tuple[str, ...] = ("COMPLETED",)
    ) -> int:
        """The job's number; 0 where it was not acknowledged."""
        self.numbers += 1
        seed = self.numbers
        path = self.write_job(f"{kind}-{seed}", epochs, seed if self.is_small else 1)
        done = self.cli("submit", path, *options, "--json")
        if done.returncode != 0:
            self.refusal = f"exit code {done.returncode}: {done.stderr.strip()}"
            self.is_refused = done.returncode == 2  # what no second try changes
            return 0
        (job,) = (one["id"] for one in json.loads(done.stdout))
        self.note(job, {"seed": seed, "epochs": epochs, "name": f"{kind}-{seed}", "expect": expect})
        return int(job)

    def note(self, job: int, known: dict[str, Any]) -> None:
        """It was acknowledged. Raises Failure where another had its number."""
        if job in self.acknowledged or job in self.used_before:
            raise Failure("doubled", f"number {job} was given again")
        self.acknowledged[job] = known

    def submit_together(self, all_epochs: Iterable[int], *options: str) -> None:
        """Jobs of one kind that wait for each other. Where that was not acknowledged, they do not count."""
        written = []
        for epochs in all_epochs:
            self.numbers += 1
            path = self.write_job(f"plain-{self.numbers}", epochs, self.numbers)
            known = {"seed": self.numbers, "epochs": epochs, "name": path.stem, "expect": ("COMPLETED",)}
            written.append((path, known))
        done = self.cli("submit", *(path for path, _ in written), *options, "--json")
        if done.returncode:
            return
        for (_, known), job in zip(written, json.loads(done.stdout), strict=True):
            self.note(job["id"], known)

    def must_submit(self, kind: str = "plain", epochs: int = 5, *options: str, **more: Any) -> int:
        job = self.submit(kind, epochs, *options, **more)
        if not job:
            raise Failure("lost", f"a job is not accepted ({self.refusal}); {self.tail()}")
        return job

    def jobs(self) -> dict[int, dict[str, Any]]:
        found = self.get("/v1/jobs?all=1") or {"jobs": []}
        return {job["id"]: job for job in found["jobs"]}

    def state_of(self, job: int) -> str:
        return str(self.jobs().get(job, {}).get("state", ""))

    def until_state(self, job: int, *states: str, seconds: float | None = None) -> str:
        def reached() -> str:
            self.keep_up()
            state = self.state_of(job)
            return state if state in states else ""

        return str(until(reached, seconds, f"job {job} is one of {states}: {self.jobs().get(job)}"))

    def unfinished(self) -> list[Any]:
        jobs = self.jobs()
        return [
            *(job for job in self.acknowledged if job not in jobs),
            *(
                (job["id"], job["state"], job["message"])
                for job in jobs.values()
                if job["state"] not in FINAL
            ),
        ]

    def settle(self, seconds: float | None = None) -> None:
        """Until every job has ended; whoever must start the daemon again does."""
        is_settled = False
        deadline = time.monotonic() + (seconds or PATIENCE)
        while not is_settled:
            self.keep_up()
            is_settled = bool(self.jobs() or not self.acknowledged) and not self.unfinished()
            if not is_settled and time.monotonic() > deadline:
                raise Failure("lost", f"jobs have not ended: {self.unfinished()}; {self.tail()}")
            time.sleep(0.03)


def processes_of(*directories: Path) -> dict[int, str]:
    """pid and command line of each process that has to do with a directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if (
            entry.name.isdigit()
            and int(entry.name) != os.getpid()
            and _has_to_do(entry, [str(d) for d in directories])
        ):
            with contextlib.suppress(OSError):
                found[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
    return found


def _has_to_do(process: Path, directories: list[str]) -> bool:
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
        texts = [(process / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
        links = [str(link.readlink()) for link in ((process / "cwd"), *(process / "fd").iterdir())]
    except OSError:
        return False
    return any(d in text for d in directories for text in texts) or any(
        link.startswith(d) for d in directories for link in links
    )


def kill(pids: Iterable[int], number: signal.Signals = signal.SIGKILL) -> list[int]:
    sent = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            sent.append(pid)
    return sent
