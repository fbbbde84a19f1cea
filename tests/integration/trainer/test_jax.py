"""A launcher with JAX: what a fork needs, and what a job's files owe to no backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from gpujobs.paths import JobPaths

from .conftest import Launched, ended, flat, log_has, require_jax, trainer_pid, tutorial
from .with_keras import python_with_keras

BEFORE_THE_FORK = """
import os, sys
from pathlib import Path
from gpujobs.supervise import preload
preload.load()
from jax._src import xla_bridge
threads = [Path(f"/proc/self/task/{thread}/comm").read_text() for thread in os.listdir("/proc/self/task")]
others = [name for name in threads[1:] if name != "jemalloc_bg_thd\\n"]
print(others, xla_bridge.backends_are_initialized(), sys.modules["tensorflow"])
"""


def test_nothing_that_a_fork_would_break_is_there_before_it() -> None:
    """No client of XLA and no thread but those of OpenBLAS (not asked for here) and of pyarrow's jemalloc, which
    mind forks by themselves."""
    require_jax()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEFORE_THE_FORK],
        env={**os.environ, "KERAS_BACKEND": "jax", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "[] False None\n"


PREDICT = """
import sys, keras, numpy
model = keras.saving.load_model(sys.argv[1])
assert keras.backend.backend() == "tensorflow"
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2])["x"], verbose=0))
"""


def test_a_model_of_jax_is_a_model_for_tensorflow(jax_launcher: Launched, tmp_path: Path) -> None:
    spec = jax_launcher.spec(tutorial(epochs=3))
    paths = jax_launcher.start(spec)
    assert ended(paths)["state"] == "COMPLETED", paths.log.read_text()
    results = JobPaths(Path(spec["job_dir"])).results
    done = python_with_keras(
        PREDICT, results / "model.keras", spec["data"]["t.npz"]["path"], tmp_path / "y.npy"
    )
    assert done.returncode == 0, done.stderr
    with np.load(results / "predictions.npz") as predicted:
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), predicted["y_pred"], atol=1e-5)


def test_what_a_trainer_with_jax_is_told(jax_launcher: Launched) -> None:
    """As many threads as the slot has cores, and memory as it is needed."""
    paths = jax_launcher.start(jax_launcher.spec(flat(epochs=100_000), cpu_threads=3))
    log_has(paths, "Epoch 1/")
    pairs = Path(f"/proc/{trainer_pid(paths)}/environ").read_bytes().decode().split("\0")
    shown = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    os.kill(trainer_pid(paths), signal.SIGKILL)
    ended(paths)
    assert (shown["PJRT_NPROC"], shown["XLA_PYTHON_CLIENT_PREALLOCATE"]) == ("3", "false")
    assert shown["CUDA_VISIBLE_DEVICES"] == "-1"
