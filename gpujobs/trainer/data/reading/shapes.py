"""What the arrays of a file must look like: dimensions, types, and as many rows as each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.trainer.data import missing
from gpujobs.trainer.data.arrays import Integers
from gpujobs.trainer.data.reading.loaded import LoadedData, begins
from gpujobs.trainer.failures import DataError


def require(
    found: LoadedData, named: Mapping[str, str], *, is_series: bool, ids: Collection[str] = ()
) -> None:
    """`named`: what the file calls each input, target and other array. `ids`: the inputs that are ids for an embedding.
    Raises DataError."""
    for name, x in found.inputs.items():
        _require_input(f"{found.file}: array {named[name]}", x, found, is_series=is_series)
    if found.lengths is not None:
        _require_lengths(found, found.lengths, named, ids)
    _require_rows(found, named)
    if found.weight is not None:
        _require_weights(f"{found.file}: array {named['sample_weight']}", found.weight)
    if is_series and found.group is not None:
        _require_together(f"{found.file}: array {named['group']}", found.group.codes)


def _require_input(place: str, x: NDArray[Any], found: LoadedData, *, is_series: bool) -> None:
    if x.dtype.kind not in "fiub":
        raise DataError(f"{place}: has dtype {x.dtype}; expected numbers")
    allowed, form = (2, 3, 4, 5), "(samples, timesteps, features)"
    if is_series:
        allowed, form = (1, 2), "(steps, features)"  # type: ignore[assignment]
    elif found.lengths is not None:
        allowed, form = (1, 2, 3), "(steps, features)"  # type: ignore[assignment]
    if x.ndim not in allowed or 0 in x.shape:
        raise DataError(f"{place}: has shape {x.shape}; expected {form}, none of them 0")


def _require_lengths(
    found: LoadedData, lengths: Integers, named: Mapping[str, str], ids: Collection[str]
) -> None:
    place = f"{found.file}: array {named['lengths']}"
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or len(lengths) == 0:
        raise DataError(
            f"{place}: has shape {lengths.shape} of {lengths.dtype}; expected an integer for each sequence"
        )
    if lengths.min() < 1:
        raise DataError(f"{place}: holds {lengths.min()}; expected integers of at least 1")
    for name, x in found.inputs.items():
        is_padded = len(x) == len(lengths) and x.ndim >= 2 and lengths.max() <= x.shape[1]
        are_facts = len(x) == len(lengths) and x.ndim == 2 and len(found.inputs) > 1 and name not in ids
        if not is_padded and not are_facts and len(x) != lengths.sum():
            raise DataError(
                f"{found.file}: array {named[name]}: has shape {x.shape}; expected all sequences in one, "
                f"{lengths.sum()} steps as {named['lengths']} says, or padded ones, {len(lengths)} samples of at "
                f"least {lengths.max()} steps"
            )


def _require_rows(found: LoadedData, named: Mapping[str, str]) -> None:
    """As many rows as the first input has."""
    rows, (first, x) = len(found), next(iter(found.inputs.items()))
    steps = None if found.lengths is None else int(found.lengths.sum())
    apart = {"sample_weight": found.weight, "time": found.time}
    apart["group"] = None if found.group is None else found.group.codes
    inputs = {} if found.lengths is not None else found.inputs
    for name, values in [*inputs.items(), *found.targets.items(), *apart.items()]:
        if values is None:
            continue
        place = f"{found.file}: array {named[name]}"
        if values.ndim == 0 or (name in apart and values.ndim > 1 and steps is None):
            raise DataError(f"{place}: has shape {values.shape}; expected ({rows},)")
        if len(values) not in (rows, steps):
            raise DataError(
                f"{place}: has shape {values.shape}; expected {rows} samples, as {named[first]} has: {x.shape}"
            )
        if values.dtype.kind not in ("fiubUM" if name in apart else "fiubU"):
            raise DataError(f"{place}: has dtype {values.dtype}; expected numbers or text")


def _require_weights(place: str, weight: NDArray[np.float64]) -> None:
    if weight.dtype.kind not in "fiub":
        raise DataError(f"{place}: has dtype {weight.dtype}; expected numbers of at least 0")
    missing.refuse(lambda: place, weight)
    if weight.min() < 0 or not weight.any():
        what = "zeros only" if not weight.any() else f"the weight {weight.min():g}"
        raise DataError(f"{place}: holds {what}; expected numbers of at least 0, and some above")


def _require_together(place: str, codes: Integers) -> None:
    runs = codes[begins(codes)]
    names, counts = np.unique(runs, return_counts=True)
    if len(runs) != len(names):
        raise DataError(
            f"{place}: the rows of {int((counts > 1).sum())} of {len(names)} series stand in several places; "
            "expected those of a series together: sort the arrays by it"
        )
