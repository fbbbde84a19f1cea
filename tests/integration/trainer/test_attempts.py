"""Attempts from start to exit record: real launcher, supervisor, trainer and Keras, on the CPU."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from gpujobs.paths import JobPaths

from .conftest import Launched, ended, eventually, flat, log_has, trainer_pid, tutorial

LONG = 100000


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_job_completes_with_all_its_files(any_launcher: Launched) -> None:
    launcher = any_launcher
    spec = launcher.spec(tutorial(epochs=3))
    paths = launcher.start(spec)
    record = ended(paths)
    assert (record["state"], record["exit"]) == ("COMPLETED", {"code": 0, "signal": None}), (
        paths.log.read_text()
    )
    results = JobPaths(Path(spec["job_dir"])).results
    assert {path.name for path in results.iterdir()} == {
        "model.keras", "predictions.npz", "predictions.csv", "history.csv", "metrics.json", "job.yaml",
        "environment.json", "preprocessing.json",
        "tensorboard", "curves.png", "confusion.png",
    }  # fmt: skip
    rows = list(csv.DictReader((results / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["predictions"]["train"]["y_true"] == [1, 2, 3, 2, 3, 1]
    assert metrics["queue_seconds"] == 1.0
    assert "expected classes [1, 2, 3, 2, 3, 1]" in paths.log.read_text()
    assert record["progress"]["epoch"] == record["progress"]["epochs"] == 3


def test_cancel_stops_at_the_next_batch(launcher: Launched) -> None:
    paths = launcher.start(launcher.spec(flat(epochs=LONG)))
    log_has(paths, "Epoch 2/")
    paths.stop.write_text(json.dumps({"reason": "cancel", "message": ""}))
    os.kill(json.loads(paths.record.read_text())["supervisor"]["pid"], signal.SIGTERM)
    record = ended(paths)
    assert (record["state"], record["reason"]) == ("CANCELLED", "CancelledByUser")
    assert record["exit"] == {"code": None, "signal": signal.SIGTERM}


def test_time_limit(launcher: Launched) -> None:
    record = ended(launcher.start(launcher.spec(flat(epochs=LONG), time_limit_seconds=1, grace_seconds=1)))
    assert (record["state"], record["reason"]) == ("TIMEOUT", "TimeLimit")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_trainer_killed_by_a_signal(launcher: Launched, number: signal.Signals) -> None:
    paths = launcher.start(launcher.spec(flat(epochs=LONG)))
    log_has(paths, "Epoch 1/")
    os.kill(trainer_pid(paths), number)
    record = ended(paths)
    assert (record["state"], record["reason"]) == ("FAILED", "Signal")
    assert record["message"] == f"killed by {number.name} (signal {int(number)})"


def test_the_trainer_dies_with_its_supervisor(launcher: Launched) -> None:
    paths = launcher.start(launcher.spec(flat(epochs=LONG)))
    log_has(paths, "Epoch 1/")
    pid = trainer_pid(paths)
    os.kill(json.loads(paths.record.read_text())["supervisor"]["pid"], signal.SIGKILL)
    eventually(lambda: gone(pid), 10)
    assert not paths.exit.exists()


def test_out_of_memory(any_launcher: Launched) -> None:
    record = ended(any_launcher.start(any_launcher.spec(tutorial(units=2_000_000))))
    assert (record["state"], record["reason"]) == ("OUT_OF_MEMORY", "HostOutOfMemory"), record


def test_a_gpu_that_the_backend_does_not_see(any_launcher: Launched) -> None:
    """It must not quietly train on the CPU."""
    device = {"kind": "gpu", "index": 0, "uuid": "GPU-00000000-0000-0000-0000-000000000000", "name": "none"}
    record = ended(any_launcher.start(any_launcher.spec(tutorial(), device=device)))
    assert (record["state"], record["reason"]) == ("FAILED", "DeviceMismatch"), record
    assert "sees 0 GPUs (none); expected exactly one, GPU-00000000" in record["message"]


def test_data_of_different_lengths(launcher: Launched) -> None:
    arrays = {"x": np.zeros((6, 6, 1), np.float32), "y": np.zeros(5, np.int64)}
    record = ended(launcher.start(launcher.spec(tutorial(), arrays)))
    assert (record["state"], record["reason"]) == ("FAILED", "DataError")
    assert record["message"] == "t.npz: array y: has shape (5,); expected 6 samples, as x has: (6, 6, 1)"


def test_a_file_that_changed_after_it_was_submitted(launcher: Launched) -> None:
    spec = launcher.spec(tutorial())
    spec["data"]["t.npz"]["sha256"] = "0" * 64
    assert ended(launcher.start(spec))["reason"] == "DataError"


def test_a_revoked_attempt_never_starts(launcher: Launched) -> None:
    spec = launcher.spec(tutorial())
    paths = JobPaths(Path(spec["job_dir"])).attempt(1)
    paths.root.mkdir()
    paths.claim.write_text("revoked")
    paths.spec.write_text(json.dumps(spec))
    pid = launcher.ask(op="start", attempt_dir=str(paths.root), notify=None)["pid"]
    eventually(lambda: gone(pid), 10)
    assert not paths.record.exists()
    assert paths.claim.read_text() == "revoked"


def test_what_proc_says_of_a_trainer(launcher: Launched) -> None:
    paths = launcher.start(launcher.spec(flat(epochs=LONG)))
    log_has(paths, "Epoch 1/")
    proc = Path(f"/proc/{trainer_pid(paths)}")
    items = [item for item in proc.joinpath("environ").read_bytes().decode().split("\0") if item]
    shown = dict(item.split("=", 1) for item in items)
    assert shown["CUDA_VISIBLE_DEVICES"] == "-1"
    assert not {key for key in shown if key.startswith(("RAY_", "PYTHON", "GPUJOBS_"))}
    assert proc.joinpath("cmdline").read_bytes().rstrip(b"\0").endswith(b"tutorial-lstm")
    assert {entry.name for entry in proc.joinpath("fd").iterdir()} >= {"0", "1", "2", "3"}
    held = {str(entry.readlink()) for entry in proc.joinpath("fd").iterdir()}
    own = {link for link in held if str(launcher.root) in link and not link.endswith(".npz")}
    assert not own  # but for the data, which is read where it was hashed
    os.kill(trainer_pid(paths), signal.SIGKILL)
    ended(paths)


def test_another_identity(launcher: Launched, as_root: None) -> None:
    """A uid that owns nothing else; the launcher's directories must let it pass."""
    uid = 64321
    spec = launcher.spec(flat(epochs=LONG), identity={"uid": uid, "gid": uid, "groups": [uid], "home": "/"})
    launcher.root.chmod(0o711)
    os.chown(JobPaths(Path(spec["job_dir"])).work, uid, uid)
    paths = launcher.start(spec)
    log_has(paths, "Epoch 1/")
    status = Path(f"/proc/{trainer_pid(paths)}/status").read_text().split("\n")
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert fields["Uid"].split() == fields["Gid"].split() == [str(uid)] * 4
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapPrm"], 16) == 0
    os.kill(json.loads(paths.record.read_text())["supervisor"]["pid"], signal.SIGKILL)
    eventually(lambda: gone(int(fields["Pid"])), 10)
