"""The estimate of memory: its parts, the optimizers' slots beside Keras's, and the whole beside a measured training."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from benchmarks import memory as benchmark
from benchmarks.support.machine import ROOT

from gpujobs.trainer.checking import memory
from gpujobs.trainer.checking.memory import Load
from gpujobs.trainer.checking.optimizers import SLOTS, slots_of

OPTIONS = [("SGD", "momentum"), ("RMSprop", "momentum"), ("RMSprop", "centered"), ("Adam", "amsgrad"),
           ("AdamW", "amsgrad"), ("Adam", "use_ema")]  # fmt: skip


@pytest.mark.parametrize(("kind", "option"), [*((kind, None) for kind in SLOTS), *OPTIONS])
def test_slots_are_those_that_keras_makes(kind: str, option: str | None) -> None:
    options: dict[str, Any] = {} if option is None else {option: 0.9 if option == "momentum" else True}
    optimizer = getattr(keras.optimizers, kind)(**options)
    weight = keras.Variable(np.zeros((70, 110), np.float32))
    optimizer.build([weight])
    made = sum(math.prod(one.shape) for one in optimizer.variables) / math.prod(weight.shape)
    counted = slots_of(optimizer) - (kind == "Muon")  # which needs two for what is no matrix
    assert counted == round(made, 1), [one.path for one in optimizer.variables]


def test_the_peak_is_where_the_backward_pass_begins() -> None:
    assert memory.peak([Load(100.0, passing=10.0), Load(50.0)]) == (160.0, 0.0)


def test_or_within_a_loop_whose_steps_leave_more_than_they_give_back() -> None:
    before, loop = Load(10.0), Load(64.0, per_step=5.0, steps=64)
    assert memory.peak([before, loop]) == (10.0 + 32.0, 32 * 5.0)  # of 64 steps, 32 at once


def test_the_estimate_is_within_a_quarter_of_what_tensorflow_allocates() -> None:
    """One sample; `scripts/bench memory` measures all of them."""
    (found,) = benchmark.measured([ROOT / "jobs" / "forecast-load.yaml"], runs=2)
    row = benchmark.row_of(found)
    assert min(found["peaks"]) > 1_000_000
    assert row.values[0] <= benchmark.AT_MOST, row.what
