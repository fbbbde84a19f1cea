"""What comes before a part in its series, which a stateful model has read when it comes to the part."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer import building
from gpujobs.trainer.data import Part, Preprocessing, Samples
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.fitting.fitted import scaled_inputs
from gpujobs.trainer.data.prepare import apply
from gpujobs.trainer.data.samples.windowed import Windowed
from gpujobs.trainer.failures import TrainerError
from gpujobs.trainer.stateful import States

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Warmed:
    """`samples`: a part's with those before them; `own`: the positions of the part's among them. `windowed`: their
    windows, of a series."""

    samples: Samples
    own: Integers
    windowed: Windowed | None = None


def warmed(spec: AttemptSpec, part: Part, learned: Preprocessing, batch_size: int) -> Warmed:
    """Windows before the part in its own file, a window apart; of arrays, the samples before it, whose rows of the
    batches it continues. A file of its own has nothing before it."""
    if isinstance(part.assembled, Windowed):
        windowed, own = part.assembled.with_before()
        with contextlib.redirect_stdout(io.StringIO()):  # it has been said when the parts were made
            return Warmed(apply(spec, windowed, learned).samples, own, windowed)
    numbers = part.samples.numbers
    count = len(part.samples)
    is_one = numbers is not None and count and numbers[-1] - numbers[0] == count - 1
    if numbers is None or not is_one or numbers[0] % batch_size:
        return Warmed(part.samples, np.arange(count))
    return Warmed(part.samples.first(int(numbers[-1]) + 1), np.asarray(numbers))


def lead(
    spec: AttemptSpec,
    learned: Preprocessing,
    warm: Warmed,
    chains: Sequence[Integers],
    twin: Callable[[Mapping[str, Any]], keras.Model],
) -> Callable[[States], None] | None:
    """Reads the rows of each series before its first window, fewer than a window has, and says with which states
    the chains begin. `twin`: the model for inputs of these shapes, with a row of its batch for each chain. None where
    there are no such rows, or the model takes windows of one length only."""
    if warm.windowed is None or warm.windowed.every > 1:
        return None
    windowed, samples = warm.windowed, warm.samples
    starts = windowed.index.starts(samples.at(np.array([chain[0] for chain in chains])))
    firsts = windowed.segment_starts(starts)
    lengths = starts - firsts
    lengths[lengths >= windowed.window["length"]] = 0  # a chain that begins within a segment, after a cut
    if not lengths.any():
        return None
    shapes = {name: (None, *rows.row_shape[1:]) for name, rows in samples.inputs.items()}
    try:
        model = twin(shapes)
    except (TrainerError, ValueError, TypeError):
        return None
    return lambda states: _begin(states, model, spec, learned, windowed, firsts, lengths)


def _begin(
    states: States,
    model: keras.Model,
    spec: AttemptSpec,
    learned: Preprocessing,
    windowed: Windowed,
    firsts: Integers,
    lengths: Integers,
) -> None:
    own = States(model)
    kept = [np.array(one) for one in states.take()]
    for length in np.unique(lengths[lengths > 0]):
        chosen = lengths == length
        rows = windowed.rows_from(np.where(chosen, firsts, firsts[chosen][0]), int(length))
        inputs = scaled_inputs(spec, rows, learned)
        taken = {name: one.take(np.arange(len(firsts))) for name, one in inputs.items()}
        own.reset(np.ones(len(firsts), bool))
        model(next(iter(taken.values())) if len(taken) == 1 else taken, training=False)
        for one, found in zip(kept, own.take(), strict=True):
            one[chosen] = found[chosen]
    states.put_back(kept)


def twin(spec: AttemptSpec, model: keras.Model, shapes: Mapping[str, Any], batch_size: int) -> keras.Model:
    """The model with the same weights, for other shapes and another fixed batch size."""
    other = building.untrained(spec.jobfile, shapes, batch_size=batch_size)
    for layer, source in zip(other.layers, model.layers, strict=True):
        layer.name = source.name  # Keras numbers those that the file does not name
    put_weights(other, model)
    return other


def put_weights(twin: keras.Model, model: keras.Model) -> None:
    """The model's, as they are now."""
    for layer, source in zip(twin.layers, model.layers, strict=True):
        layer.set_weights(source.get_weights())
