"""Whether the masks of a job's sequences are strictly right-padded, as cuDNN needs them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.checking.data import LOOK_BYTES
from gpujobs.trainer.data import Samples
from gpujobs.trainer.data.memory import looking_at, pieces
from gpujobs.trainer.data.reading.input_requirements import heads, is_there
from gpujobs.trainer.data.samples.rows import RaggedRows


def unfit(spec: AttemptSpec, samples: Samples) -> int:
    """How many of the samples, among those that are looked at, have a masked step before one that is there, or no
    step at all. Sequences of different length, which we pad, have none."""
    count = 0
    for name, head in heads(spec.jobfile).items():
        rows = samples.inputs[name]
        if not head.is_masked or isinstance(rows, RaggedRows):
            continue
        width = 4 * math.prod(size or 1 for size in rows.row_shape)
        with looking_at(LOOK_BYTES):
            for some in pieces(0, len(samples), width):
                positions = np.arange(some.start, some.stop)
                count += int(is_unfit(is_there(rows.take(samples.at(positions)), head)).sum())
    return count


def is_unfit(there: Any) -> Any:
    """bool, shape (samples,)."""
    returns = (there[:, 1:] & ~there[:, :-1]).any(axis=1)
    return returns | ~there.any(axis=1)
