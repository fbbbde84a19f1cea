"""docs/cells.md has the equations of the oracle, and a valid job file."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from gpujobs.jobfile import load
from gpujobs.jobfile.layer_names import recurrent_names
from tests.reference import cells
from tests.unit.docs.cells import COUNTS, PAGE, ROOT

EQUATIONS = [line for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_equations_are_those_of_the_oracle(equation: str) -> None:
    said = [function.__doc__ or "" for function in (cells.lstm, cells.gru, cells.simple_rnn)]
    assert any(equation in map(str.strip, one.splitlines()) for one in said)


def test_all_equations_of_the_oracle_are_there() -> None:
    for function in (cells.lstm, cells.gru, cells.simple_rnn):
        indented = re.findall(r"^ {8}(\S.*)$", function.__doc__ or "", re.MULTILINE)
        assert indented and set(indented) <= set(EQUATIONS)


@pytest.mark.parametrize(("layer", "setting", "formula", "number"), COUNTS)
def test_the_formulas_give_the_numbers(layer: str, setting: str, formula: str, number: str) -> None:
    found = eval(formula.replace("×", "*"), {"units": 128, "inputs": 1})
    assert found == int(number), (layer, setting)


def test_there_is_a_count_for_each_layer() -> None:
    assert [layer for layer, *_ in COUNTS] == ["LSTM", "GRU", "GRU", "SimpleRNN"]


def test_the_example_is_valid_and_its_layers_states_have_the_names_of_the_page() -> None:
    rest = {"data": {"train": "t.npz"}, "training": {"loss": "binary_crossentropy"}}
    job = load("a.yaml", json.dumps({**yaml.safe_load(EXAMPLE), **rest})).resolved
    (name,) = recurrent_names(job)
    assert job["predict"][0]["states"] == [name]
    assert f"`{name}_h`, `{name}_c`" in PAGE


def test_the_drawing_is_of_the_same_names() -> None:
    script = (ROOT / "scripts/drawings/lstm_cell.py").read_text()
    for name in ("$c$", "$h$", "$x$", "$c'$", "$h'$", '"f"', '"i"', '"g"', '"o"', "recurrent_dropout"):
        assert name in script
