"""What the docstrings of the values name is there."""

from __future__ import annotations

import dataclasses
import re

import pytest

from gpujobs import model

VALUES = [
    value for value in vars(model).values() if isinstance(value, type) and dataclasses.is_dataclass(value)
]


@pytest.mark.parametrize("value", VALUES, ids=lambda one: one.__name__)
def test_a_value_has_the_fields_that_its_docstring_names(value: type) -> None:
    named = set(re.findall(r"`([a-z_]+)`", value.__doc__ or ""))
    assert named <= {field.name for field in dataclasses.fields(value)}
