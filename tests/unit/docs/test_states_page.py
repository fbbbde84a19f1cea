"""docs/states.md draws the steps that are legal, and no others."""

from __future__ import annotations

import re

import pytest
from drawings.states import PAGE, with_diagram

from gpujobs import lifecycle
from gpujobs.model import State


def test_the_diagram_is_that_of_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_diagram(page) == page, "run: .venv/bin/python scripts/drawings/states.py"
    steps = re.findall(r"^    ([A-Z_]+) --> ([A-Z_]+)$", page, re.MULTILINE)
    assert set(steps) == {(one, other) for one, targets in lifecycle.TRANSITIONS.items() for other in targets}


def test_a_step_that_is_added_makes_the_page_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text(encoding="utf-8")
    added = {State.RUNNING: lifecycle.TRANSITIONS[State.RUNNING] | {State.PENDING}}
    monkeypatch.setattr(lifecycle, "TRANSITIONS", {**lifecycle.TRANSITIONS, **added})
    assert with_diagram(page) == page.replace(
        "    RUNNING --> COMPLETING", "    RUNNING --> PENDING\n    RUNNING --> COMPLETING"
    )
