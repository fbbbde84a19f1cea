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
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gpujobs.paths import JobPaths
from gpujobs.supervise.launcher import IDLE_SECONDS
from tests.unit.trainer.data.making import csv

from .conftest import Launched, ended, require_jax, tutorial
from .jobs import spec_of
from .members import UNOPTIMIZED
from .with_keras import python_with_keras


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_no_other_backend_is_in_its_memory(any_launcher: Launched) -> None:
    """Though both are installed, and TensorFlow imports JAX where it can, as Keras does TensorFlow."""
    any_launcher.ask(op="ping")
    mapped = Path(f"/proc/{any_launcher.process.pid}/maps").read_text()
    own, other = (
        ("tensorflow", "jaxlib") if any_launcher.backend == "tensorflow" else ("jaxlib", "tensorflow")
    )
    assert f"/{own}/" in mapped and f"/{other}/" not in mapped


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
        "accuracy ",
        "  class ",
        "Preparing batches took ",
    )
    assert [line for line in lines if not line.startswith(first)] == []
    assert launcher.errors.read_text() == ""


def test_an_idle_launcher_uses_no_cpu(any_launcher: Launched) -> None:
    """Once it has warmed up, for which it waits until nobody has asked for anything for a moment."""
    launcher = any_launcher
    launcher.ask(op="ping")
    before, deadline = -1, time.monotonic() + 60
    while before != ticks(launcher.process.pid) and time.monotonic() < deadline:
        before = ticks(launcher.process.pid)
        time.sleep(2 * IDLE_SECONDS)
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
from gpujobs.supervise import preload
preload.load()
before = set(sys.modules)
from gpujobs.trainer import kept, train, training_loop
from gpujobs.trainer.backends import active as backend
from gpujobs.protocol.codec import parse
from gpujobs.protocol.spec import AttemptSpec
for number, path in enumerate(sys.argv[1:]):
    spec = parse(AttemptSpec, Path(path).read_bytes())
    if number == 0:
        os.environ.update(backend.device_environment(spec))
        backend.take_device(spec)
    train.run(spec, training_loop.Messages(os.open(os.devnull, os.O_WRONLY)), training_loop.StopFlag(), kept.Kept())
    print("LATE", sorted(set(sys.modules) - before))
"""

TABLE = """
data:
  train: %s
  time: when
  group: site
  target: a
  window: {length: 4, stride: 4}
  missing: fill
  scaling: robust
  split: {method: chronological, validation: 0.2, test: 0.2}
model: {layers: [LSTM: {units: 2, stateful: true}, Dense: {units: 1}]}
training: {loss: mse, batch_size: 2, shuffle: false, precision: mixed_bfloat16}
predict: [test, %s]
"""
LABELS = """
data: {train: l.npz, lengths: n, classes: [no, yes], missing: drop, split: {method: stratified, test: 0.3}}
model: {layers: [Embedding: {input_dim: 9, output_dim: 2, mask_zero: true}, GRU: {units: 2}, Dense: {units: 1}]}
training: {loss: binary_crossentropy, metrics: [AUC], class_weight: balanced}
predict: [test]
"""


def files() -> dict[str, Any]:
    rows = 200
    when = [f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(rows // 2)] * 2
    columns = {
        "when": when,
        "site": ["a", "b"] * (rows // 2),
        "a": np.sin(np.arange(rows)),
        "b": np.ones(rows),
    }
    columns["when"] = [when[n // 2] for n in range(rows)]
    arrow = pa.table({**columns, "when": pa.array(columns["when"]).cast(pa.timestamp("us", "UTC"))})
    labels = {"x": np.arange(60) % 8 + 1, "n": np.full(20, 3), "y": np.array([b"yes", b"no"] * 10)}
    return {"t.csv": csv(columns), "t.parquet": arrow, "l.npz": labels}


def test_nothing_is_imported_after_the_fork(any_launcher: Launched) -> None:
    launcher = any_launcher
    job = tutorial(epochs=2, validation_split=0.34, early_stopping={"monitor": "val_loss"},
                   reduce_lr_on_plateau={"monitor": "loss"}, best_weights={"monitor": "val_accuracy"})  # fmt: skip
    spec = launcher.spec(job)
    texts = [TABLE % ("t.csv", "t.csv"), TABLE % ("t.parquet", "t.parquet"), LABELS]
    paths = []
    for number, one in enumerate([spec, *(spec_of(launcher, text, files()) for text in texts)]):
        paths.append(launcher.root / f"late-{number}.json")
        paths[-1].write_text(json.dumps(one))
    if launcher.backend == "tensorflow":
        done = python_with_keras(LATE, *paths)
    else:
        done = subprocess.run(
            [sys.executable, "-c", LATE, *map(str, paths)],
            env={**os.environ, **UNOPTIMIZED, "KERAS_BACKEND": launcher.backend},
            capture_output=True, text=True, check=False, timeout=250,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("LATE")] == ["LATE []"] * 4
