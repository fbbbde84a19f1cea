"""Values that a model would misunderstand: ids that an embedding has not, steps that look like padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data.memory import pieces, row_bytes
from gpujobs.trainer.data.notices import say
from gpujobs.trainer.data.reading.input_requirements import InputRequirements
from gpujobs.trainer.data.reading.loaded import LoadedData
from gpujobs.trainer.data.samples.rows import RaggedRows
from gpujobs.trainer.data.samples.samples import Samples
from gpujobs.trainer.failures import DataError


def check_shapes(raw: LoadedData, samples: Samples, expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Raises DataError where an input has not the form of the training data. None: any length."""
    for name, rows in samples.inputs.items():
        wanted, have = expected.get(name, rows.row_shape), rows.row_shape
        fits = len(wanted) == len(have) and all(
            a == b or None in (a, b) for a, b in zip(wanted, have, strict=True)
        )
        if not fits:
            raise DataError(
                f"{raw.place(name)}: has {_form(have)} for each sample; expected {_form(wanted)}, as the training "
                "data has"
            )


def _form(shape: tuple[int | None, ...]) -> str:
    return (
        "shape (" + ", ".join("any" if n is None else str(n) for n in shape) + ("," * (len(shape) == 1)) + ")"
    )


def check_inputs(raw: LoadedData, samples: Samples, heads: Mapping[str, InputRequirements]) -> None:
    """Raises DataError. `samples`: as the model gets them."""
    for name, rows in samples.inputs.items():
        head = heads.get(name, InputRequirements())
        if head.ids is not None:
            _check_ids(raw.place(name), raw.inputs[name], head.ids)
        if not isinstance(rows, RaggedRows):
            continue
        if head.is_masked:
            _check_padding(raw.place(name), rows, is_ids=head.ids is not None)
        elif rows.lengths.min() < rows.lengths.max():
            note = (
                f"{raw.place(name)}: sequences differ in length, and no layer skips the steps that pad the shorter "
                "ones: the model takes them for data. Put Masking first, or mask_zero: true into Embedding."
            )
            say([note])


def _check_ids(place: str, values: NDArray[Any], count: int) -> None:
    low, high, broken = count, 0, 0
    for rows in pieces(0, len(values), row_bytes(values)):
        piece = np.asarray(values[rows])
        piece = piece[piece == piece]  # what is missing is left out or filled
        low, high = min(low, piece.min(initial=count)), max(high, piece.max(initial=0))
        broken += int((piece != np.floor(piece)).sum())
    if broken or low < 0 or high >= count:
        what = f"{broken} numbers that are not whole" if broken else f"ids {low:g} to {high:g}"
        raise DataError(
            f"{place}: holds {what}; expected integers from 0 to {count - 1}, as Embedding has input_dim {count}"
        )


def _check_padding(place: str, rows: RaggedRows, *, is_ids: bool) -> None:
    """A step that is there and looks like padding would be skipped."""
    count = 0
    for some in pieces(0, len(rows.values), row_bytes(rows.values)):
        piece = rows.values[some] if rows.change is None else rows.change(rows.values[some])
        same = np.asarray(piece, rows.dtype) == np.asarray(rows.padding, rows.dtype)
        count += int((same if is_ids else same.reshape(len(piece), -1).all(axis=-1)).sum())
    if count:
        advice = "number the ids from 1" if is_ids else "choose another mask_value in Masking"
        raise DataError(
            f"{place}: {count} steps are {rows.padding:g} in every feature, which stands for padding and would be "
            f"skipped; expected none: {advice}"
        )
