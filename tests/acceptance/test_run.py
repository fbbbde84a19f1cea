"""`gpujobs run` with nothing running and an empty home: from a job file to results."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gpujobs.model import State
from gpujobs.store.store import Store

from .harness import COMMAND, ENDLESS, ROOT, eventually, kill_all, processes_of, short_directory, write_job

PREDICT = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2])["x"], verbose=0))
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    directory = short_directory()
    yield directory
    left = processes_of(directory)
    kill_all(left)
    shutil.rmtree(directory)
    assert not left


def environment(home: Path) -> dict[str, str]:
    """As a new user has it: no variable of ours, no directory of theirs."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def ran(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "run", "--plot", str(ROOT / "jobs/tutorial.yaml")],
        env=environment(home), cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(ran: subprocess.CompletedProcess[str], home: Path) -> Path:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return home / ".local/state/gpujobs/results/1"


def test_it_prints_predicted_and_expected_classes_and_where_the_files_are(
    ran: subprocess.CompletedProcess[str], results: Path
) -> None:
    predicted = re.search(r"predicted +([0-3 ]+)\n", ran.stdout)
    assert predicted and len(predicted[1].split()) == 6, ran.stdout
    assert re.search(r"expected +1 2 3 2 3 1\n", ran.stdout), ran.stdout
    for name in ("model.keras", "predictions.npz", "history.csv", "log.txt"):
        shown = re.search(rf"^ *{re.escape(name)} +(\S+)$", ran.stdout, re.MULTILINE)
        assert shown and (results.parents[4] / shown[1]).resolve() == (results / name).resolve(), ran.stdout
    assert "Traceback" not in ran.stderr


def test_it_draws_the_learning_curve_where_that_is_asked_for(ran: subprocess.CompletedProcess[str]) -> None:
    curve = ran.stdout.partition("1 tutorial-lstm, 20 epochs")[2]
    assert re.search(r"^loss\n0\.\d+ +┤", curve, re.MULTILINE), ran.stdout
    assert re.search(r"^ +1 +epoch +20$", curve, re.MULTILINE), ran.stdout
    assert "confusion, train part" in curve, ran.stdout


def test_the_embedded_daemon_is_gone(results: Path, home: Path) -> None:
    eventually(lambda: not processes_of(home), 15, lambda: str(processes_of(home)))


def test_check_starts_a_daemon_too(home: Path, ran: object) -> None:
    done = subprocess.run(
        [*COMMAND, "check", str(ROOT / "jobs/tutorial.yaml")],
        env=environment(home), cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and "66,560" in done.stdout, done.stdout + done.stderr
    eventually(lambda: not processes_of(home), 15, lambda: str(processes_of(home)))


def test_the_model_loads_in_plain_keras_and_predicts_the_same(results: Path, tmp_path: Path) -> None:
    arguments = [results / "model.keras", ROOT / "jobs/data/tutorial.npz", tmp_path / "predicted.npy"]
    subprocess.run(
        [sys.executable, "-c", PREDICT, *map(str, arguments)], check=True, timeout=120, cwd=tmp_path
    )
    with np.load(results / "predictions.npz") as saved:
        np.testing.assert_allclose(np.load(tmp_path / "predicted.npy"), saved["y_pred"], atol=1e-6)
        assert saved["y_true"].tolist() == [1, 2, 3, 2, 3, 1]
        assert saved["y_class"].tolist() == saved["y_pred"].argmax(axis=1).tolist()


def test_history_has_a_row_for_each_epoch(results: Path) -> None:
    rows = list(csv.DictReader((results / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(20))
    assert all(float(row["loss"]) > 0 and 0 <= float(row["accuracy"]) <= 1 for row in rows)


def test_metrics(results: Path) -> None:
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["parameters"] == 4 * (128 * (128 + 1) + 128) + 128 * 4 + 4
    assert all(metrics[name] > 0 for name in ("queue_seconds", "start_seconds", "train_seconds"))
    assert metrics["peak_memory_bytes"] > 1 << 20


def test_environment_names_versions_device_and_data(results: Path) -> None:
    text = (results / "environment.json").read_text()
    import hashlib

    digest = hashlib.sha256((ROOT / "jobs/data/tutorial.npz").read_bytes()).hexdigest()
    assert digest in text and '"tensorflow"' in text and '"seed"' in text
    found = json.loads(text)
    assert found["gpujobs"] == importlib.metadata.version("gpujobs") and found["host"] == os.uname().nodename
    assert found["kernel"] == f"Linux {os.uname().release}" and found["cpu"]
    assert (found["nvidia_driver"] is None) == (not Path("/proc/driver/nvidia/version").exists())


def test_the_log_names_tensorflow_and_the_devices(results: Path) -> None:
    log = (results / "log.txt").read_text()
    assert re.search(r"^TensorFlow 2\.\d+", log, re.MULTILINE)
    assert "This box has no GPU." in log or re.search(r"^GPU 0: ", log, re.MULTILINE)
    assert "Visible to this job: " in log


def test_its_job_file_can_be_submitted_again(results: Path, home: Path) -> None:
    """From wherever it lies, as it is: its paths lead to the data. And a run by another daemon, from the resolved file,
    gives the same model: seed and data are in it."""
    again = home / "again"
    again.mkdir()
    shutil.copy(results / "job.yaml", again / "job.yaml")
    done = subprocess.run(
        [*COMMAND, "run", "job.yaml", "--json"],
        env=environment(home), cwd=again, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)
    with (
        np.load(Path(job["results"]) / "predictions.npz") as second,
        np.load(results / "predictions.npz") as first,
    ):
        np.testing.assert_array_equal(first["y_pred"], second["y_pred"])


def test_interrupt_cancels_and_leaves_nothing(home: Path) -> None:
    path = write_job(home, "endless", epochs=ENDLESS)
    command = [*COMMAND, "run", str(path), "--state-dir", str(home / "i")]
    with subprocess.Popen(
        command, env=environment(home), cwd=home, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it is ignored in what a shell's & starts
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert any("RUNNING" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # where it has not ended: the test fails, and waits for nothing
    assert process.returncode == 130, errors
    assert "cancelled" in errors and "Traceback" not in errors
    eventually(lambda: not processes_of(home), 15, lambda: str(processes_of(home)))
    store = Store(home / "i/gpujobs.db")
    try:
        assert [job.state for job in store.jobs([1])] == [State.CANCELLED]
    finally:
        store.close()
