import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.demand import Demand
from gpujobs.errors import JobFileError
from gpujobs.jobfile import ResolvedJob, dump, expand, load
from gpujobs.jobfile.schema import seconds

ROOT = Path(__file__).parents[3]
TUTORIAL = (ROOT / "jobs" / "tutorial.yaml").read_text(encoding="utf-8")
SMALL = "data: {train: d.npz}\nmodel: {layers: [Flatten, Dense: {units: 2}]}\ntraining: {loss: mse}\n"


def message(text: str, **overrides: str) -> str:
    with pytest.raises(JobFileError) as caught:
        load("jobs/a.yaml", text, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value)


def test_the_tutorial() -> None:
    job = load("jobs/tutorial.yaml", TUTORIAL)
    assert job.name == "tutorial-lstm"
    assert job.data_paths == ("data/tutorial.npz",)
    assert (job.demand, job.retries) == (Demand(time_limit_seconds=3600), 1)
    assert job.resolved["training"]["optimizer"] == {"Adam": {"learning_rate": 0.001}}
    assert job.resolved["predict"] == [{"name": "train", "source": "train"}]


def test_the_tutorial_data() -> None:
    import numpy as np

    with np.load(ROOT / "jobs" / "data" / "tutorial.npz", allow_pickle=False) as data:
        assert data["x"].shape == (6, 6, 1)
        assert data["x"].dtype == np.float32
        assert data["x"][2, :, 0].tolist() == [0, 0, 0, 0, 3, 3]
        assert data["y"].tolist() == [1, 2, 3, 2, 3, 1] == data["x"].max(axis=(1, 2)).tolist()


def test_every_default_is_filled_in() -> None:
    assert load("some/dir/small.yaml", SMALL).resolved == {
        "name": "small",
        "data": {
            "train": {"path": "d.npz", "in_place": False}, "x": "x", "y": "y",
            "scaling": {"x": "none", "y": "none"}, "missing": "error",
        },
        "model": {"layers": [{"Flatten": {}}, {"Dense": {"units": 2}}]},
        "training": {
            "loss": "mse", "optimizer": {"Adam": {}}, "metrics": [], "epochs": 1, "batch_size": 32, "seed": 0,
            "shuffle": True, "validation_split": 0.0, "steps_per_execution": 1, "precision": "float32",
            "deterministic": True, "backend": "tensorflow",
        },
        "predict": [],
        "resources": {
            "gpu": None, "node": None, "gpu_name": None, "gpu_memory": None, "time_limit": None, "at_limit": "stop",
        },
        "retries": 1,
        "priority": 0,
        "preemptible": False,
    }  # fmt: skip


def test_data_paths_are_each_named_once() -> None:
    text = SMALL.replace("train: d.npz", "train: {path: d.npz, in_place: true}, validation: v.npz")
    job = load("a.yaml", text + "predict: [train, validation, d.npz, {name: late, path: ../t.npz}]\n")
    assert job.data_paths == ("d.npz", "v.npz", "../t.npz")
    assert job.in_place_paths == ("d.npz",)
    assert [entry["name"] for entry in job.resolved["predict"]] == ["train", "validation", "d", "late"]


def test_toml_and_json_say_the_same() -> None:
    toml = (
        '[data]\ntrain = "d.npz"\n[model]\nlayers = ["Flatten", {Dense = {units = 2}}]\n'
        '[training]\nloss = "mse"\n'
    )
    plain = load("a.yaml", SMALL)
    assert load("a.toml", toml).resolved == plain.resolved
    assert load("a.json", json.dumps(plain.resolved)).resolved == plain.resolved


@pytest.mark.parametrize(
    ("written", "expected"),
    [("1h", 3600), ("90m", 5400), ("1h30m", 5400), ("1:30:00", 5400), ("45s", 45), ("2d", 172800), (60, 60)],
)
def test_durations(written: object, expected: int) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize(
    "written", ["", "h", "1", "1:60:00", "1.5h", "-1h", "0s", "9999d", True, 1.0, None, "١h"]
)
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match=r"duration|bounds"):
        seconds(written)


@pytest.mark.parametrize(
    ("key", "value", "where", "expected"),
    [
        ("training.epochs", "5", ("training", "epochs"), 5),
        ("resources.gpu", "3", ("resources", "gpu"), 3),
        ("resources.time_limit", "1:30:00", ("resources", "time_limit"), 5400),
        ("name", "007", ("name",), "007"),
        ("training.optimizer", "sgd", ("training", "optimizer"), {"SGD": {}}),
        ("training.optimizer.Adam.beta_1", "1e-2", ("training", "optimizer", "Adam", "beta_1"), 0.01),
        ("model.layers.0.LSTM.units", "64", ("model", "layers", 0, "LSTM", "units"), 64),
        ("model.layers[0].LSTM.units", "64", ("model", "layers", 0, "LSTM", "units"), 64),
        ("data.train.in_place", "true", ("data", "train", "in_place"), True),
        ("predict", "[x.npz]", ("predict",), [{"name": "x", "path": "x.npz", "in_place": False}]),
    ],
)  # fmt: skip
def test_overrides(key: str, value: str, where: tuple[Any, ...], expected: object) -> None:
    found: Any = load("a.yaml", TUTORIAL, {key: value}).resolved
    for part in where:
        found = found[part]
    assert found == expected


def test_overrides_that_make_no_sense_name_the_option() -> None:
    assert message(SMALL, training__epoch="5") == (
        "--set training.epoch=5: unknown key; did you mean training.epochs?"
    )
    assert message(SMALL, epochs="5") == "--set epochs=5: unknown key; did you mean training.epochs?"
    assert message(SMALL, training__epochs="no") == (
        '--set training.epochs=no: training.epochs is "no"; expected an integer of at least 1.'
    )
    assert message(SMALL, model__layers__9__Dense="1").startswith("--set model.layers.9.Dense=1: there is no")
    assert "\x1b" not in message(SMALL, **{"a\x1b[0m": "\x1b"})


def test_line_of() -> None:
    job = load("a.yaml", SMALL + "resources:\n  gpu: 9\n")
    assert job.demand.requested_gpu == 9
    assert job.line_of("resources.gpu") == 5
    assert job.line_of("resources.time_limit") is None


def test_a_sweep() -> None:
    text = TUTORIAL + (
        "sweep:\n  list:\n    - {training.optimizer: adam}\n"
        "    - {training.optimizer: {SGD: {momentum: 0.9}}}\n"
        "  grid:\n    training.seed: [1, 2]\n    model.layers.0.LSTM.units: [8, 16]\n"
    )
    jobs = expand("a.yaml", text)
    assert [job.name for job in jobs] == [f"tutorial-lstm-{number}" for number in range(1, 9)]
    assert {job.group for job in jobs} == {"tutorial-lstm"}
    assert jobs[6].sweep_values == {
        "training.optimizer": {"SGD": {"momentum": 0.9}}, "training.seed": 2, "model.layers.0.LSTM.units": 8,
    }  # fmt: skip
    assert jobs[6].resolved["training"]["optimizer"] == {"SGD": {"momentum": 0.9}}
    assert jobs[6].resolved["training"]["seed"] == 2
    assert jobs[6].resolved["model"]["layers"][0]["LSTM"]["units"] == 8
    assert jobs[0].resolved["model"]["layers"][0]["LSTM"]["units"] == 8
    with pytest.raises(JobFileError, match="the sweep makes 8 jobs"):
        load("a.yaml", text)


@pytest.mark.timeout(60)
def test_a_thousand_jobs_of_one_sweep() -> None:
    text = TUTORIAL + f"sweep: {{grid: {{training.seed: {list(range(1000))}}}}}\n"
    jobs = expand("a.yaml", text)
    assert [job.resolved["training"]["seed"] for job in jobs] == list(range(1000))


@pytest.mark.timeout(60)
def test_a_thousand_different_files_are_each_read_once() -> None:
    texts = {f"{number}.yaml": f"{TUTORIAL}# {number}\n" for number in range(1000)}
    first = {path: expand(path, text)[0] for path, text in texts.items()}
    again = {path: expand(path, text)[0] for path, text in texts.items()}
    assert all(again[path].resolved is job.resolved for path, job in first.items())


@pytest.mark.timeout(120)
def test_hostile_sizes_do_not_hold_up_the_daemon() -> None:
    layers = ", ".join(f"Layer{number}" for number in range(60_000))
    assert "more problems are not shown" in message(SMALL.replace("Flatten", layers))
    unknown = "".join(f"retriez{number}: 1\n" for number in range(40_000))
    assert "more problems are not shown" in message(SMALL + unknown)
    seeds = f"sweep: {{grid: {{training.seed: {list(range(9000))}}}}}\n"
    many = ", ".join(["Flatten"] * 999)
    assert "too large a file" in message(SMALL.replace("Flatten", many) + seeds)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    ["name", "data", "model", "training", "predict", "resources", "retries", "priority", "sweep", "nonsense"]
)


def outcome(path: str, text: str) -> list[ResolvedJob]:
    try:
        return expand(path, text)
    except JobFileError as error:
        assert error.problems
        assert all(problem.message.isprintable() for problem in error.problems)
        return []


@given(st.text() | st.text(alphabet="[]{}:,-?*&!|>'\"#%@ \n\tab01"), st.sampled_from(["a.yaml", "a.toml"]))
def test_any_text_gives_jobs_or_problems(text: str, path: str) -> None:
    outcome(path, text)


@given(st.dictionaries(keys, plain_values, max_size=8), st.booleans())
def test_any_tree_gives_jobs_or_problems(tree: dict[str, Any], over_a_valid_one: bool) -> None:
    base = load("a.yaml", SMALL).resolved if over_a_valid_one else {}
    outcome("a.yaml", json.dumps({**base, **tree}, ensure_ascii=False))


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_gives_jobs_or_problems(key: str, value: str) -> None:
    try:
        load("a.yaml", SMALL, {key: value})
    except JobFileError as error:
        assert error.problems


names = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=30).filter(
    lambda name: name.isprintable() and name == name.strip()
)
files = names.filter(lambda name: name.strip(".")).map(lambda name: f"{name}.npz")
"""`..npz` has no ending, as Python sees it."""
jobs = st.fixed_dictionaries(
    {
        "name": names
        | st.sampled_from(["no", "null", "1:30", "007", "true", "1e3", "~", "- a", "a: b", "#x"]),
        "data": st.fixed_dictionaries({"train": files}),
        "model": st.fixed_dictionaries(
            {
                "layers": st.lists(
                    st.sampled_from(["Flatten", {"Dense": {"units": 3}}]), min_size=1, max_size=3
                )
            }
        ),
        "training": st.fixed_dictionaries(
            {
                "loss": st.sampled_from(["mse", "BinaryCrossentropy", {"Huber": {"delta": 1e-7}}]),
                "optimizer": st.sampled_from(
                    ["adam", "SGD", {"adam": {"learning_rate": 1e-07}}, {"Lion": None}]
                ),
                "validation_split": st.floats(0, 1, exclude_max=True),
                "epochs": st.integers(1, 10**9),
            }
        ),
        "predict": st.lists(st.just("train"), max_size=1),
        "resources": st.fixed_dictionaries(
            {"gpu": st.none() | st.integers(0, 9), "time_limit": st.just("2h")}
        ),
        "priority": st.integers(-100, 100),
    }
)


@given(jobs)
def test_the_resolved_form_is_a_job_file_that_resolves_to_itself(tree: dict[str, Any]) -> None:
    job = load("a.yaml", json.dumps(tree, ensure_ascii=False))
    assert load("b.yaml", dump(job.resolved)) == job
    assert json.loads(json.dumps(job.resolved)) == job.resolved
