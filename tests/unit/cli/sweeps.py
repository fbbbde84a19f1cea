"""Sweeps as the command line shows them."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.conftest import Protocol, member
from tests.unit.cli.rows import ended

ADAM = {"training.optimizer": {"Adam": {"learning_rate": 0.01}}}


def sweep(server: Protocol, *states: str, first: int = 1, name: str = "sweep") -> None:
    for number, state in enumerate(states, first):
        more: dict[str, Any] = ended(state) if state not in ("RUNNING", "PENDING") else {"state": state}
        server.jobs[number] = member(number, first, name, ADAM, **more)
