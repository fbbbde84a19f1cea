"""Names: those of jobs are free, those of layers are what the backend takes; job.yaml keeps every one as it is."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.errors import JobFileError
from gpujobs.jobfile.reader import read
from gpujobs.jobfile.resolve import expand, load
from gpujobs.jobfile.writing import dump

FILE = """
data: {train: d.npz}
model: {layers: [LSTM: {units: 8}, Dense: {units: 1}]}
training: {loss: mse, epochs: 2, optimizer: %s}
"""
TRAPS = [
    "1e5",
    "on",
    "off",
    "no",
    "2024-01-01",
    "~",
    "null",
    "010",
    "1:30",
    ".5",
    "0x1F",
    "0o7",
    "+1",
    "-",
    "- a",
    "a: b",
]
TRAPS += [
    "#a",
    "a #b",
    "'",
    '"',
    "\\",
    "\\n",
    "&a",
    "*a",
    "!a",
    "%a",
    "@a",
    "`a",
    "{a}",
    "[a]",
    "|",
    ">",
    "=",
    "<<",
    ".inf",
]
TRAPS += [
    "Lärm",
    "测试",
    "_test",
    "(a) test",
    "🚀",
    "e\u0301",
    "TRUE",
    "y",
    "1_000",
    "1.",
    "12e03",
    "?",
    "? a",
    "x" * 100,
]


@pytest.mark.parametrize("name", TRAPS)
def test_a_jobs_name_is_read_again_as_it_was(name: str) -> None:
    resolved = load("a.yaml", FILE % "adam", {"name": name}).resolved
    assert resolved["name"] == name
    text = dump(resolved)
    assert read(text, "yaml").tree == resolved
    assert yaml.safe_load(text) == resolved


@given(
    st.recursive(
        st.text() | st.integers(-(10**15), 10**15) | st.booleans() | st.none(), st.lists, max_leaves=5
    )
)
def test_whatever_a_file_holds_is_read_again(value: object) -> None:
    """By YAML 1.1 too, which other programs speak."""
    assert yaml.safe_load(dump({"value": value})) == {"value": value}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_so_are_numbers(value: float) -> None:
    text = dump({"value": value})
    assert yaml.safe_load(text) == read(text, "yaml").tree == {"value": value}


@pytest.mark.parametrize(
    ("key", "optimizer", "expected"),
    [
        ("training.optimizer.Adam.learning_rate", "adam", {"Adam": {"learning_rate": 0.5}}),
        ("training.optimizer.adam.learning_rate", "Adam", {"Adam": {"learning_rate": 0.5}}),
        (
            "training.optimizer.Adam.learning_rate",
            "{adam: {beta_1: 0.8}}",
            {"Adam": {"beta_1": 0.8, "learning_rate": 0.5}},
        ),
        ("training.optimizer.sgd.learning_rate", "SGD", {"SGD": {"learning_rate": 0.5}}),
    ],
)
def test_an_argument_is_set_whichever_way_the_file_names_the_optimizer(
    key: str, optimizer: str, expected: object
) -> None:
    assert load("a.yaml", FILE % optimizer, {key: "0.5"}).resolved["training"]["optimizer"] == expected


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("training.learning_rate", "did you mean training.optimizer.Adam.learning_rate?"),
        ("training.lr", "did you mean training.optimizer.Adam.learning_rate?"),
        ("training.optimizer.SGD.learning_rate", "the file has adam there, not SGD"),
        ("sweep.grid.training.sed", "did you mean training.seed?"),
    ],
)
def test_a_key_that_leads_nowhere_says_where_it_belongs(key: str, said: str) -> None:
    with pytest.raises(JobFileError, match=f"--set {key}.*{said}".replace("?", r"\?")):
        load("a.yaml", FILE % "adam", {key: "0.5"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sweep.grid.training.seed", "[3, 4]"),
        ("sweep.grid", "{training.seed: [3, 4]}"),
        ("sweep", "{grid: {training.seed: [3, 4]}}"),
    ],
)
def test_a_sweep_is_set_from_outside(key: str, value: str) -> None:
    jobs = expand("a.yaml", FILE % "adam", {key: value})
    assert [(job.name, job.resolved["training"]["seed"], job.group) for job in jobs] == [
        ("a-1", 3, "a"),
        ("a-2", 4, "a"),
    ]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sweep.grid", "3", "sweep.grid is 3; expected keys with lists of values."),
        ("sweep", "{grid: {training.seed: []}}", "sweep.grid.training.seed is an empty list"),
        ("sweep", "{grid: {training.seed: [1, x]}}", 'training.seed is "x"; expected an integer'),
        ("sweep", "{list: [{model.layers.9: 1}]}", "model.layers.9: there is no entry 9"),
        ("training.metrics.0", "mae", "there is no entry 0: the file has no list there; set all of it"),
    ],
)
def test_what_is_wrong_with_a_sweep_that_is_set_names_the_option(key: str, value: str, expected: str) -> None:
    with pytest.raises(JobFileError) as caught:
        expand("a.yaml", FILE % "adam", {key: value})
    assert str(caught.value).startswith(f"--set {key}={value}: {expected}")


def test_what_keras_refuses_has_its_line() -> None:
    job = load("a.yaml", FILE % "{SGD: {momentum: 0.9}}")
    assert job.line_in("training.optimizer.SGD: momentum must be in [0, 1]") == 4
    assert job.line_in("model.layers[1].Dense: no") == 3
    assert job.line_in("the check did not end in time") is None
