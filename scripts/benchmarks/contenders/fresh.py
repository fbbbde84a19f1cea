"""A new process for each job, forked from one that has TensorFlow imported."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders.reference import reference

NAME = "fresh"

session = partial(reference, "fresh")


def missing() -> None:
    """Needs nothing."""
