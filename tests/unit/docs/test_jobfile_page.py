"""docs/jobfile.md names every key of the schema, and its examples are valid."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gpujobs.jobfile import expand, load
from gpujobs.jobfile.reader import read
from gpujobs.jobfile.schema import JobFile

PAGE = (Path(__file__).parents[3] / "docs/jobfile.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
BASE: dict[str, Any] = {
    "data": {"train": "d.npz"},
    "model": {"layers": [{"LSTM": {"units": 4, "name": "first_lstm"}}, {"Dense": {"units": 1}}]},
    "training": {"loss": "mse"},
}


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner in inside(field.annotation):
            yield from sections(inner)


def inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from inside(argument)


KEYS = sorted({(model.__name__, name) for model in sections(JobFile) for name in model.model_fields})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_is_on_the_page(section: str, key: str) -> None:
    assert re.search(rf"`{key}[`:]", PAGE), f"{section}.{key}"


def test_defaults_on_the_page_are_those_of_the_schema() -> None:
    """`| key | type | default |` of the tables of top level, data, training and resources."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`|]+)` \|", PAGE, re.MULTILINE)
    defaults: dict[str, list[Any]] = {}
    for model in sections(JobFile):
        for name, field in model.model_fields.items():
            defaults.setdefault(name, []).append(field.default)
    assert len(rows) > 15
    for key, written in rows:
        if key in ("data", "x", "y", "resources", "scaling", "merge", "length"):
            continue
        known = [
            value if isinstance(value, str) else json.dumps(value) for value in map(plain, defaults[key])
        ]
        assert yaml.safe_load(written) in map(yaml.safe_load, known), key


def plain(value: Any) -> Any:
    """Of a section the fields, and nothing of a field that is required."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return None if value is PydanticUndefined else value


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_are_valid(example: str) -> None:
    """Each alone, over a small job file that has what it leaves out."""
    tree: dict[str, Any] = dict(read(example, "yaml").tree)  # PyYAML takes `on` for true
    if "job" in tree.get("model", {}):
        load("a.yaml", example)
        return
    job = {**BASE, **tree}
    job["training"] = {**BASE["training"], **tree.get("training", {})}
    if "predict" in tree or "early_stopping" in job["training"]:
        job["data"] = {**job["data"], "validation": "v.npz", "test": "t.npz"}
        job["predict"] = [entry for entry in job.get("predict", []) if ".csv" not in str(entry)]
    if "branches" in job["model"]:
        job["data"] = {**job["data"], "x": {"course": "course", "facts": "facts"}}
    assert expand("a.yaml", json.dumps(job))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
