"""Every file in jobs/ runs through `gpujobs run`, and reaches what its comment promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpujobs.cli import follow

from .conftest import running
from .harness import ROOT, UNPACED, RunningDaemon

pytestmark = pytest.mark.timeout(900)
"""The first test trains all of them: 95 s alone, more than 300 s beside the rest of the suite."""

JOBS = ROOT / "jobs"
ELSEWHERE = {"optimizer-sweep"}
"""Samples that tests of their own run."""

Metrics = dict[str, Any]


def figure(metrics: Metrics, *path: str) -> float:
    found: Any = metrics["evaluation"]
    for part in path:
        found = found[part]
    return float(found)


def accuracy(bound: float, naive: float) -> Callable[[Metrics], bool]:
    return lambda metrics: (
        figure(metrics, "model", "accuracy") > bound
        and figure(metrics, "baselines", "majority class", "accuracy") < naive
    )


PROMISES: dict[str, Callable[[Metrics], bool]] = {
    "tutorial-lstm": lambda metrics: metrics["parameters"] == 4 * (1 + 128 + 1) * 128 + (128 + 1) * 4,
    "forecast-load": lambda metrics: (
        figure(metrics, "model", "mae") < 2.5 and figure(metrics, "baselines", "a season before", "mae") > 4
    ),
    "labelling": accuracy(0.85, 0.5),
    "stateful-prices": lambda metrics: (
        figure(metrics, "model", "mae") < 0.8 * figure(metrics, "baselines", "last value", "mae")
    ),
    "tokens": accuracy(0.9, 0.7),
    "two-inputs": lambda metrics: (
        figure(metrics, "outputs", "next", "model", "mae") < 0.2
        and figure(metrics, "outputs", "next", "baselines", "mean", "mae") > 0.6
        and figure(metrics, "outputs", "alarm", "model", "accuracy") > 0.9
    ),
    "variable-length": accuracy(0.85, 0.4),
    "recurrent-layers-2": lambda metrics: figure(metrics, "model", "mae") < 0.15,
    "recurrent-layers-3": lambda metrics: figure(metrics, "model", "mae") < 0.15,
}
"""By the name of the job, what its metrics.json must show. Of the sweep, GRU and LSTM are 2 and 3."""

NOT_BETTER = {"tutorial-lstm", "recurrent-layers-1"}
"""Twenty epochs are too few for the tutorial's six sequences, and a SimpleRNN forgets what it should add."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(environment=UNPACED) as daemon:
        yield daemon


def ran(daemon: RunningDaemon, *arguments: object) -> dict[str, Metrics]:
    """metrics.json of each job by its name, with the directory of its results."""
    done = daemon.cli("run", *arguments, "--json", timeout=800, code=0)
    found = {}
    for job in json.loads(done.stdout):
        directory = Path(job["results"])
        found[job["name"]] = {**json.loads((directory / "metrics.json").read_text()), "directory": directory}
    return found


@pytest.fixture(scope="module")
def samples(daemon: RunningDaemon) -> dict[str, Metrics]:
    """All files at once, two at a time."""
    files = sorted(file for file in JOBS.glob("*.yaml") if file.stem not in ELSEWHERE)
    return ran(daemon, *files)


def test_every_sample_has_its_promise(samples: dict[str, Metrics]) -> None:
    assert samples.keys() == {*PROMISES, "recurrent-layers-1"}


@pytest.mark.parametrize("name", PROMISES)
def test_it_reaches_what_its_comment_promises(samples: dict[str, Metrics], name: str) -> None:
    metrics = samples[name]
    assert PROMISES[name](metrics), metrics["evaluation"]
    if name not in NOT_BETTER:
        assert metrics["evaluation"]["better_than_baseline"], metrics["evaluation"]


def test_gates_remember_what_a_simple_layer_forgets(samples: dict[str, Metrics]) -> None:
    errors = [figure(samples[f"recurrent-layers-{number}"], "model", "mae") for number in (1, 2, 3)]
    assert max(errors[1:]) < errors[0] / 2


def test_the_tutorial_with_more_epochs_is_all_right(daemon: RunningDaemon) -> None:
    (metrics,) = ran(daemon, JOBS / "tutorial.yaml", "--set", "training.epochs=200").values()
    assert metrics["predictions"]["train"]["y_class"] == [1, 2, 3, 2, 3, 1]
    assert metrics["evaluation"]["better_than_baseline"]


def test_predictions_are_in_the_terms_of_the_user(samples: dict[str, Metrics]) -> None:
    with np.load(samples["forecast-load"]["directory"] / "predictions.npz") as found:
        assert found["y_pred"].shape == found["y_true"].shape == (len(found["time"]), 6, 1)
        assert found["y_true"].min() > 20 and found["y_true"].max() < 130
        assert set(found["group"]) == {"north", "south"}
        assert found["time"].dtype.kind == "M"
    with np.load(samples["variable-length"]["directory"] / "predictions.npz") as found:
        assert set(found["y_class"]) <= {"circle", "stroke", "wave"}
        assert all(name.startswith("g") for name in found["sequence"])
    with np.load(samples["two-inputs"]["directory"] / "predictions.npz") as found:
        assert {"y_pred_next", "y_true_next", "y_class_alarm", "y_true_alarm"} <= set(found.files)


def test_what_run_prints_of_numbers(daemon: RunningDaemon) -> None:
    """Predicted beside expected, and the model beside the best naive forecast."""
    said = daemon.cli("run", JOBS / "forecast-load.yaml", "--set", "training.epochs=1", code=0).stdout
    predicted, expected = (
        line.split() for line in said.splitlines() if line.strip().startswith(("predicted", "expected"))
    )
    shown = follow.PREDICTIONS_SHOWN
    assert len(predicted) == len(expected) == 1 + shown + 1 and predicted[-1] == expected[-1] == "..."
    assert all(len(number) <= 9 for number in predicted)
    assert "on the test part, " in said and "better than a season before: " in said


def test_the_data_is_what_its_script_makes(tmp_path: Path) -> None:
    """Whoever runs it again has the same numbers."""
    subprocess.run([sys.executable, JOBS / "data/make_samples.py", tmp_path], check=True, timeout=60)
    made = sorted(path.name for path in tmp_path.iterdir())
    shipped = {path.name for path in (JOBS / "data").iterdir() if path.suffix in (".csv", ".npz")}
    assert set(made) == shipped - {"tutorial.npz"}
    for name in made:
        if name.endswith(".csv"):
            assert (tmp_path / name).read_text() == (JOBS / "data" / name).read_text()
            continue
        with np.load(tmp_path / name) as one, np.load(JOBS / "data" / name) as other:
            assert one.files == other.files
            for key in one.files:
                np.testing.assert_array_equal(one[key], other[key])
