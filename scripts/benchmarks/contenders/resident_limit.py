"""What a simple program that keeps its processes takes: built and traced once, then each job with weights, optimizer
and random numbers as at the beginning, trained by a loop of its own."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders.reference import reference

NAME = "resident limit"

session = partial(reference, "resident")


def missing() -> None:
    """Needs nothing."""
