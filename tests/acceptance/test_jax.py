"""`training.backend: jax`, from the command line to a model that TensorFlow loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.backends import JAX, missing

from .conftest import running
from .harness import ROOT, RunningDaemon, write_job

PREDICT = """
import sys, keras, numpy
assert keras.backend.backend() == "tensorflow"
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2])["x"], verbose=0))
"""


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


def predicted_by_tensorflow(model: Path, data: Path, to: Path) -> Any:
    subprocess.run(
        [sys.executable, "-c", PREDICT, str(model), str(data), str(to)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"}, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return np.load(to)


def test_the_tutorial_with_jax(daemon: RunningDaemon, tmp_path: Path) -> None:
    if lack := missing(JAX, on_gpu=False):
        pytest.skip(lack)
    assert not [line for line in daemon.processes().values() if "--backend jax" in line]
    (job,) = daemon.submit(ROOT / "jobs/tutorial.yaml", "--set", "training.backend=jax")
    results = Path(daemon.until(job, "COMPLETED", seconds=180)["results"])
    assert [line for line in daemon.processes().values() if "--backend jax" in line]
    assert "JAX " in daemon.job_log(job)
    assert "jax" in json.loads((results / "environment.json").read_text())
    with np.load(results / "predictions.npz") as arrays:
        y_pred = arrays["y_pred"]
    again = predicted_by_tensorflow(
        results / "model.keras", ROOT / "jobs/data/tutorial.npz", tmp_path / "y.npy"
    )
    np.testing.assert_allclose(again, y_pred, atol=1e-5)


def test_where_jax_is_not_installed(tmp_path: Path) -> None:
    """Python's own mark for a module that cannot be imported, set before the daemon looks."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['jax'] = None\n")
    with running(environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}) as daemon:
        path = write_job(daemon.root, "later")
        path.write_text(path.read_text().replace("  epochs:", "  backend: jax\n  epochs:"))
        refused = daemon.cli("submit", path, code=2)
        assert "training.backend is jax: JAX is not installed here; " in refused.stderr
        assert "later.yaml:10: " in refused.stderr
        assert "pip install 'gpujobs[jax]'" in refused.stderr
        assert daemon.everything() == []
        checks = {check["name"]: check for check in daemon.json("doctor")}
        assert checks["backend jax"]["ok"] is None
        assert "gpujobs[jax]" in checks["backend jax"]["message"]
