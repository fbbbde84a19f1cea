"""The launcher's manners: silent, idle, and complete for users who cannot read the installation."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from gpujobs.paths import JobPaths

from .conftest import Launched, ended, require_jax, tutorial


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_nothing_but_the_job_in_a_log(any_launcher: Launched) -> None:
    """No chatter of a backend's about a GPU that a CPU slot has not, and nothing on the launcher's stderr."""
    launcher = any_launcher
    paths = launcher.start(launcher.spec(tutorial(epochs=1)))
    assert ended(paths)["state"] == "COMPLETED"
    lines = paths.log.read_text().splitlines()
    first = (
        "TensorFlow " if launcher.backend == "tensorflow" else "JAX ",
        "This box has no GPU.",
        "Visible to this job: ",
        "Epoch 1/1",
        "train: ",
        "train:  ",
        "On the train part",
    )
    assert [line for line in lines if not line.startswith(first)] == []
    assert launcher.errors.read_text() == ""


def test_an_idle_launcher_uses_no_cpu(any_launcher: Launched) -> None:
    launcher = any_launcher
    launcher.ask(op="ping")
    before = ticks(launcher.process.pid)
    time.sleep(2)  # the time over which nothing must happen
    assert ticks(launcher.process.pid) == before


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_user_who_cannot_read_the_installation(as_root: None, backend: str) -> None:
    """A real user trains, predicts and saves although the package's directory is closed to all but root."""
    if backend == "jax":
        require_jax()
    name = f"gj{os.getpid()}"
    if subprocess.run(["useradd", "--no-create-home", name], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let tests add users")
    try:
        user = pwd.getpwnam(name)
        train_as(user.pw_uid, user.pw_gid, backend)
    finally:
        subprocess.run(["userdel", name], check=True)


def train_as(uid: int, gid: int, backend: str) -> None:
    root = Path(tempfile.mkdtemp(prefix="gj-"))
    source = Path(__file__).parents[3] / "gpujobs"
    shutil.copytree(source, root / "closed" / "gpujobs", ignore=shutil.ignore_patterns("__pycache__"))
    launched = Launched(root, root / "closed", backend)
    try:
        launched.ask(op="ping")
        (root / "closed").chmod(0o700)
        root.chmod(0o711)
        (root / "jobs").mkdir(mode=0o711)
        spec = launched.spec(
            tutorial(epochs=2), identity={"uid": uid, "gid": gid, "groups": [gid], "home": "/"}
        )
        os.chown(JobPaths(Path(spec["job_dir"])).work, uid, gid)
        paths = launched.start(spec)
        assert ended(paths)["state"] == "COMPLETED", paths.log.read_text()
        results = JobPaths(Path(spec["job_dir"])).results
        assert (results / "model.keras").stat().st_uid == uid
        with np.load(results / "predictions.npz") as arrays:
            assert arrays["y_class"].shape == (6,)
    finally:
        launched.close()
        shutil.rmtree(root)


LATE = """
import json, os, sys
from pathlib import Path
from gpujobs.trainer import preload
preload.load()
before = set(sys.modules)
from gpujobs.trainer import fitting, train
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.spec import parse
spec = parse(json.loads(Path(sys.argv[1]).read_text()))
os.environ.update(backend.device_environment(spec))
backend.take_device(spec)
train.run(spec, fitting.Messages(os.open(os.devnull, os.O_WRONLY)), fitting.StopFlag())
print("LATE", sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_after_the_fork(any_launcher: Launched) -> None:
    launcher = any_launcher
    job = tutorial(epochs=2, validation_split=0.34, early_stopping={"monitor": "val_loss"},
                   reduce_lr_on_plateau={"monitor": "loss"}, best_weights={"monitor": "val_accuracy"})  # fmt: skip
    spec = launcher.spec(job)
    path = launcher.root / "late.json"
    path.write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(path)],
        env={**os.environ, "KERAS_BACKEND": launcher.backend},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "LATE []"
