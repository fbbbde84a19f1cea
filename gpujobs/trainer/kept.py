"""What a trainer keeps from one job to the next of the same signature, and how each begins as if it were alone."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gpujobs.jobfile.signature import signature
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import building
from gpujobs.trainer.backends import active as backend
from gpujobs.trainer.backends import configure, configure_again
from gpujobs.trainer.data import Prepared
from gpujobs.trainer.shelf import Shelf
from gpujobs.trainer.traced import Traced

PEAK = Path("/proc/self/clear_refs")
"""A 5 sets the peak of memory to what is in use."""


class Kept:
    """Of one process: made once, and given to each of its jobs, one after the other."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._traced: Traced | None = None
        self._is_first = True

    def anew(self) -> None:
        """Before each job but the first: what a process has of its past is as in one that has just begun."""
        with warnings.catch_warnings():  # what was warned of once is warned of again
            pass
        with contextlib.suppress(OSError):  # the peak is then that of all its jobs so far
            PEAK.write_text("5")
        backend.forget_peak()

    def traced(self, spec: AttemptSpec, prepared: Prepared) -> Traced:
        """A model as it is before its first step, with the seed set, kept or built. It is not kept any more, until
        `keep` says so: after a training that ended well."""
        jobfile, key = spec.jobfile, key_of(spec.jobfile, prepared)
        training = jobfile["training"]
        shapes = {name: rows.row_shape for name, rows in prepared.train.samples.inputs.items()}
        traced, self._traced = self._traced, None
        if traced is not None and key == self._key:
            configure_again(training)
            if traced.begin(building.untrained(jobfile, shapes), training):
                return traced
        del traced  # before there is another
        if not self._is_first:
            keras.utils.clear_session()
        self._is_first, self._key = False, key
        configure(training)
        masked = bool(prepared.train.samples.counted)
        shelf = Shelf(spec.paths.steps(os.geteuid()), (key, backend.versions())) if spec.may_stay else None
        return Traced(building.build(jobfile, shapes, masked=masked), jobfile, shelf)

    def keep(self, traced: Traced) -> None:
        """For the next job, once one has ended well."""
        self._traced = traced

    def hand_down(self) -> None:
        """To the processes that come after (12 ms of an LSTM with dropout)."""
        if self._traced is not None:
            self._traced.steps.hand_down()


def key_of(jobfile: Mapping[str, Any], prepared: Prepared) -> Hashable:
    """All that a graph may depend on: the signature, and what batches are made of."""
    samples = prepared.train.samples
    first = samples.at(np.arange(1))
    rows = tuple(
        (name, one.row_shape, str(one.take(first).dtype))
        for part in (samples.inputs, samples.targets)
        for name, one in part.items()
    )
    return signature(jobfile), rows, tuple(samples.counted), samples.weight is None
