"""Sweeps in the store."""

from __future__ import annotations

from dataclasses import replace

from gpujobs.store.records import NewJob
from tests.unit.store.jobs import new_job


def sweep(name: str, count: int, start: int = 0) -> list[NewJob]:
    """`start`: how many jobs come before these in the submission."""
    return [
        replace(new_job(f"{name}-{n + 1}"), group=name, group_start=start, sweep_values={"training.seed": n})
        for n in range(count)
    ]
