"""`gpujobs check` as people see it: the sample jobs, sweeps, errors, and data that stays where it lies."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import yaml

from gpujobs.errors import JobFileError, UsageError

from .harness import ROOT, RunningDaemon, write_job

SAMPLES = sorted(path.name for path in (ROOT / "jobs").glob("*.yaml"))


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


@pytest.fixture(scope="module", autouse=True)
def samples(daemon: RunningDaemon) -> None:
    shutil.copytree(ROOT / "jobs", daemon.root / "jobs")


def test_the_tutorial(daemon: RunningDaemon) -> None:
    text = daemon.cli("check", "jobs/tutorial.yaml", code=0).stdout
    lines = text.splitlines()
    assert lines[0] == "jobs/tutorial.yaml: valid"
    assert "  first_lstm  LSTM   (128,)  4 × 128 × (1 + 128 + 1) = 66,560" in lines
    assert "  dense       Dense  (4,)    (128 + 1) × 4 = 516" in lines
    assert "  67,076 parameters" in lines
    assert "  first_lstm  LSTM   no    recurrent_dropout is 0.2" in lines
    assert "  x      (6, 6, 1)  float32  0    0         all" in lines
    assert "  classes of the training part: 1 (2), 2 (2), 3 (2)" in lines
    assert "steps: 1 an epoch, batches of 32; 20 epochs" in lines
    assert {line.split()[0] for line in lines} >= {
        "weights",
        "gradients",
        "optimizer",
        "activations",
        "batch",
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_fits_80_columns_and_no_cell_is_python(daemon: RunningDaemon, name: str) -> None:
    text = daemon.cli("check", f"jobs/{name}", code=0).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert not {"None", "{'", "':", "nan", "array("} & set(text.split())
    assert "any" in text or "(None" not in text


def test_json_has_every_job_of_a_sweep_with_what_it_sets(daemon: RunningDaemon) -> None:
    entries = daemon.json("check", "jobs/optimizer-sweep.yaml")
    assert [entry["name"] for entry in entries] == [f"optimizer-sweep-{number}" for number in range(1, 13)]
    assert entries[0]["sweep"] == {"training.optimizer": {"SGD": {"learning_rate": 0.01}}}
    kept = [next(r["bytes"] for r in e["report"]["memory"] if r["part"] == "optimizer") for e in entries]
    assert kept[0] == 0 < kept[2] < kept[7]  # SGD, with momentum, Adam
    text = daemon.cli("check", "jobs/optimizer-sweep.yaml", code=0).stdout
    assert "jobs/optimizer-sweep.yaml: valid, 12 jobs" in text
    assert text.count("optimizer={") == 12 and text.count("cuDNN's fused kernel") == 1


def test_what_is_wrong_with_the_data_is_said_before_it_costs_anything(daemon: RunningDaemon) -> None:
    before = daemon.known()
    path = write_job(daemon.root, "wrong")
    job = yaml.safe_load(path.read_text())
    np.savez(daemon.root / "wrong.npz", x=np.zeros((6, 6, 1), np.float32), y=np.array([0, 1, 2, 3, 4, 9]))
    path.write_text(yaml.safe_dump({**job, "data": {"train": "wrong.npz"}}))
    done = daemon.cli("check", path, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{path}: wrong.npz: array y: holds ") and "0 to 3" in line
    assert daemon.known() == before


def test_a_check_keeps_nothing(daemon: RunningDaemon) -> None:
    known, before = daemon.known(), set(daemon.state.rglob("*"))
    own = daemon.root / "own"
    own.mkdir()
    path = write_job(own, "looked-at")
    np.savez(own / "tutorial.npz", x=np.ones((9, 6, 1), np.float32), y=np.arange(9) % 4)
    assert "steps: 2 an epoch" in daemon.cli("check", path, code=0).stdout
    assert set(daemon.state.rglob("*")) <= before
    assert daemon.known() == known


def test_a_pipe_keeps_nobody_waiting(daemon: RunningDaemon) -> None:
    """The command refuses it; who asks the daemon directly is refused too."""
    path = write_job(daemon.root, "pipe")
    pipe = daemon.root / "pipe.npz"
    os.mkfifo(pipe)
    text = path.read_text().replace("tutorial.npz", "pipe.npz")
    path.write_text(text)
    assert "is not a regular file" in daemon.cli("check", path, code=2, timeout=30).stderr
    entry = {"sha256": None, "bytes": 5, "in_place": str(pipe)}
    body = {"files": [{"path": "pipe.yaml", "text": text, "data": {"pipe.npz": entry}}]}
    with daemon.client() as client:
        with pytest.raises(JobFileError) as refused:
            client.post("/v1/check", body)
        assert "is not a regular file" in refused.value.problems[0].message
        with pytest.raises(UsageError, match="has no sha256"):
            client.post("/v1/jobs", {**body, "request_key": "k"})
