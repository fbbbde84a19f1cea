"""A real launcher, one for the session: its imports take seconds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.backends import missing
from gpujobs.linux import sockets
from gpujobs.paths import AttemptPaths, JobPaths
from tests.integration.trainer.members import UNOPTIMIZED
from tests.specs import check_json, spec_json

LAUNCHER = (sys.executable, "-m", "gpujobs.supervise.launcher")
INSTALLATION = Path(__file__).parents[3]
SEQUENCES = ["011000", "000220", "000033", "022000", "003300", "000011"]


def tutorial(epochs: int = 3, units: int = 16, **training: Any) -> dict[str, Any]:
    layers = [
        {"LSTM": {"units": units, "dropout": 0.2, "recurrent_dropout": 0.2, "name": "first_lstm"}},
        {"Dense": {"units": 4, "activation": "sigmoid"}},
    ]
    return {
        "name": "tutorial-lstm",
        "data": {"train": {"path": "t.npz"}},
        "model": {"layers": layers},
        "training": {
            "loss": "binary_crossentropy",
            "optimizer": {"Adam": {"learning_rate": 0.001}},
            "metrics": ["accuracy"],
            "epochs": epochs, "batch_size": 32, "seed": 0, "shuffle": True, "validation_split": 0.0,
            **training,
        },
        "predict": [{"name": "train", "source": "train"}],
    }  # fmt: skip


def flat(epochs: int = 3, **training: Any) -> dict[str, Any]:
    """The same without its recurrent layer, where no test looks at that: it is traced in a quarter of the time."""
    job = tutorial(epochs, **training)
    job["model"]["layers"][:1] = [{"Flatten": {}}, {"Dropout": {"rate": 0.2}}]
    return job


def eventually(what: Callable[[], Any], seconds: float = 60.0, describe: Callable[[], str] = str) -> Any:
    """Polls until `what` is true; fails with `describe()` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.01)
    pytest.fail(f"not within {seconds} s: {describe()}")


class Launched:
    """A running launcher and the jobs' directories under `root`."""

    def __init__(self, root: Path, installation: Path = INSTALLATION, backend: str = "tensorflow") -> None:
        self.backend = backend
        self.root, self.socket, self.jobs = root, root / "run" / "l.sock", 0
        self.socket.parent.mkdir(mode=0o700)
        self.points = root / "points"
        self.errors = root / "launcher.stderr"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*LAUNCHER, "--socket", str(self.socket), "--backend", backend],
                stdin=subprocess.PIPE,
                stderr=errors,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{self._unoptimized()}:{installation}",
                    "GPUJOBS_FAILPOINTS": f"@{self.points}",
                },
                cwd=root,
            )
        eventually(self.socket.exists, describe=self.errors.read_text)

    def _unoptimized(self) -> Path:
        """The launcher takes no other environment than its own; what Python runs when it starts can add to it."""
        directory = self.root / "first"
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(f"import os\nos.environ.update({UNOPTIMIZED})\n")
        return directory

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0

    @contextmanager
    def paced(self) -> Iterator[None]:
        """Trainings wait meanwhile after each batch, so that a short one can be interrupted."""
        self.points.write_text("trainer.batch=pause:0.05")
        try:
            yield
        finally:
            self.points.unlink()

    def ask(self, **request: Any) -> dict[str, Any]:
        connection = sockets.connect(self.socket)
        with connection, connection.makefile("rwb") as file:
            file.write(json.dumps(request).encode() + b"\n")
            file.flush()
            answer: dict[str, Any] = json.loads(file.readline())
        return answer

    def spec(
        self, jobfile: dict[str, Any], arrays: dict[str, Any] | None = None, **fields: Any
    ) -> dict[str, Any]:
        self.jobs += 1
        job = JobPaths(self.root / "jobs" / str(self.jobs))
        job.work.mkdir(parents=True, mode=0o700)
        path = self.root / f"{self.jobs}.npz"
        x = np.array([[float(c) for c in s] for s in SEQUENCES], np.float32)[..., None]
        np.savez(path, **(arrays or {"x": x, "y": np.array([1, 2, 3, 2, 3, 1])}))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = {"sha256": digest, "bytes": path.stat().st_size, "path": str(path), "in_place": False}
        whole = spec_json(
            job=self.jobs,
            backend=self.backend,
            time_limit_seconds=200,
            job_dir=str(job.root),
            jobfile=jobfile,
            data={"t.npz": entry},
        )
        return {**whole, **fields}

    def check(self, spec: dict[str, Any]) -> dict[str, Any]:
        return self.ask(op="inspect", spec=check_json(spec))

    def start(self, spec: dict[str, Any]) -> AttemptPaths:
        paths = JobPaths(Path(spec["job_dir"])).attempt(spec["attempt"])
        paths.root.mkdir(mode=0o700)
        paths.spec.write_text(json.dumps(spec))
        answer = self.ask(op="start", attempt_dir=str(paths.root), notify=None)
        assert "pid" in answer, answer
        return paths


def ended(paths: AttemptPaths) -> dict[str, Any]:
    """The exit record, once it is there."""

    def story() -> str:
        return paths.log.read_text(errors="replace")[-3000:] if paths.log.exists() else "no log"

    eventually(paths.exit.exists, 120, story)
    record: dict[str, Any] = json.loads(paths.exit.read_text())
    return record


def trainer_pid(paths: AttemptPaths) -> int:
    eventually(paths.record.exists)
    return int(json.loads(paths.record.read_text())["trainer"]["pid"])


def log_has(paths: AttemptPaths, text: str) -> None:
    eventually(
        lambda: paths.log.exists() and text in paths.log.read_text(), 60, lambda: paths.log.read_text()
    )


@contextmanager
def running(backend: str) -> Iterator[Launched]:
    root = Path(tempfile.mkdtemp(prefix="gj-"))
    launched = Launched(root, backend=backend)
    yield launched
    launched.close()
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launched]:
    with running("tensorflow") as launched:
        yield launched


@pytest.fixture(scope="session")
def jax_launcher() -> Iterator[Launched]:
    require_jax()
    with running("jax") as launched:
        yield launched


@pytest.fixture(params=["tensorflow", "jax"])
def any_launcher(request: pytest.FixtureRequest) -> Launched:
    """For what must hold whichever the backend is."""
    name = "launcher" if request.param == "tensorflow" else "jax_launcher"
    found: Launched = request.getfixturevalue(name)
    return found


def require_jax() -> None:
    if lack := missing("jax", on_gpu=False):
        pytest.skip(lack)


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("taking another identity needs root")
