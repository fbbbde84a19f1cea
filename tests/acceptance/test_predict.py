"""`gpujobs predict`: a trained model answers for new data, and for values on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .harness import ROOT, RunningDaemon, write_job

SEQUENCE = "[[0],[0],[0],[0],[0],[1]]"

STATES = """
import sys
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
x = np.array(eval(sys.argv[2]), np.float32)[None]
layer = model.layers[0]
np.save(sys.argv[3], keras.Model(model.inputs, layer.output)(x))
"""


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


@pytest.fixture(scope="module")
def trained(daemon: RunningDaemon) -> int:
    job = daemon.submit_quick("trained", units=4)
    daemon.until(job, "COMPLETED")
    return job


def predict(daemon: RunningDaemon, *arguments: object) -> dict[str, Any]:
    (job,) = json.loads(daemon.cli("predict", *arguments, "--json", code=0).stdout)
    return dict(job)


def arrays_of(job: dict[str, Any], name: str = "predictions.npz") -> dict[str, Any]:
    with np.load(Path(job["results"]) / name) as archive:
        return dict(archive)


def test_one_sequence_is_answered_with_its_class(daemon: RunningDaemon, trained: int) -> None:
    done = daemon.cli("predict", trained, "--values", SEQUENCE, code=0)
    (line,) = [line for line in done.stdout.splitlines() if "predicted" in line]
    assert line.split()[1] in ("0", "1", "2", "3"), done.stdout


def test_several_sequences_in_one_call(daemon: RunningDaemon, trained: int) -> None:
    job = predict(daemon, trained, "--values", f"[{SEQUENCE}, {SEQUENCE}]")
    found = arrays_of(job)
    assert found["y_pred"].shape == (2, 4)
    assert job["predictions"]["values"]["y_class"] == found["y_class"].tolist()


def test_data_is_predicted_as_the_training_predicted_it(daemon: RunningDaemon, trained: int) -> None:
    job = predict(daemon, trained, ROOT / "jobs/data/tutorial.npz")
    first = arrays_of(daemon.job(trained))
    again = arrays_of(job)
    assert again.keys() == first.keys()
    np.testing.assert_allclose(again["y_pred"], first["y_pred"], atol=1e-6)
    assert again["y_true"].tolist() == [1, 2, 3, 2, 3, 1]


def test_states_of_a_layer_are_those_of_keras(daemon: RunningDaemon, trained: int, tmp_path: Path) -> None:
    job = predict(daemon, trained, "--values", SEQUENCE, "--states", "lstm")
    found = arrays_of(job)
    assert found["lstm_h"].shape == found["lstm_c"].shape == (1, 4)
    model, target = Path(daemon.job(trained)["results"]) / "model.keras", tmp_path / "h.npy"
    subprocess.run([sys.executable, "-c", STATES, model, SEQUENCE, target], check=True, capture_output=True)
    np.testing.assert_allclose(found["lstm_h"], np.load(target), atol=1e-6)
    assert job["predictions"]["values"]["states"] == {"lstm_h": [1, 4], "lstm_c": [1, 4]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--values", "[[0],"), "is not JSON"),
        ((), "expected data files, or --values"),
        (("none.npz",), "data file none.npz: does not exist"),
        (
            ("--values", SEQUENCE, "--states", "gru"),
            "gru is not a recurrent layer of job {job} (it has lstm)",
        ),
    ],
)
def test_wrong_use_is_one_line_and_queues_nothing(
    daemon: RunningDaemon, trained: int, arguments: tuple[str, ...], message: str
) -> None:
    before = daemon.known()
    done = daemon.cli("predict", trained, *arguments, code=2)
    assert message.format(job=trained) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert daemon.known() == before


def test_values_of_another_shape_say_what_is_expected(daemon: RunningDaemon, trained: int) -> None:
    before = daemon.known()
    done = daemon.cli("predict", trained, "--values", "[[0,1],[0,1]]", code=2)
    assert "expected one sample of shape (6, 1), or several of them" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert daemon.known() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"x": np.zeros((2, 6, 3))},
            "array x: has shape (6, 3) for each sample; expected shape (6, 1)",
        ),
        ({"x": np.array([["a"], ["b"]])}, "x"),
        ({"z": np.zeros((2, 6, 1))}, "has no array x"),
    ],
    ids=["shape", "text", "array"],
)
def test_data_that_does_not_fit_is_refused_once_and_queues_nothing(
    daemon: RunningDaemon, trained: int, content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "new.npz", **content)
    before = daemon.known()
    done = daemon.cli("predict", trained, tmp_path / "new.npz", code=2)
    assert message.format(job=trained) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert daemon.known() == before


def test_a_job_without_a_model(daemon: RunningDaemon) -> None:
    held = daemon.submit_quick("held", "--hold")
    done = daemon.cli("predict", held, "--values", SEQUENCE, code=2)
    assert f"job {held} is PENDING and has no model" in done.stderr
    assert "job 999 does not exist" in daemon.cli("predict", 999, "--values", SEQUENCE, code=2).stderr
    daemon.cli("cancel", held, code=0)


def test_a_job_file_can_name_the_model(daemon: RunningDaemon, trained: int) -> None:
    write_job(daemon.root)  # puts the data beside it
    path = daemon.root / "apply.yaml"
    path.write_text(
        f"model: {{job: {trained}}}\npredict: [tutorial.npz, {{name: one, values: {SEQUENCE}}}]\n"
    )
    (job,) = daemon.submit(path)
    ended = daemon.until(job, "COMPLETED")
    assert arrays_of(ended)["y_class"].shape == (6,)
    assert arrays_of(ended, "predictions-one.npz")["y_class"].shape == (1,)
    assert not (Path(ended["results"]) / "model.keras").exists()
