"""Reads npz files, without pickles; their headers are checked before anything is allocated."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpujobs.trainer.failures import DataError
from gpujobs.trainer.spec import Spec

MAX_RATIO = 1032
"""Deflate cannot compress better than this: a larger claim is a lie."""


@dataclass(frozen=True, slots=True)
class Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Arrays:
    """`x`: float32, shape (samples, timesteps, features). `y`: shape (samples, ...), or None."""

    x: np.ndarray
    y: np.ndarray | None


def headers(name: str, path: Path) -> dict[str, Header]:
    """The arrays of an npz file by name. `name` is the path as the user wrote it, for messages."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                member.filename.removesuffix(".npy"): _header(name, archive, member)
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{name}: is not a whole npz file ({error}); write it with numpy.savez") from error


def _header(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    array = member.filename.removesuffix(".npy")
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read[version](file)
            header, offset = Header(shape, dtype), file.tell()
    except (ValueError, KeyError, EOFError) as error:
        raise DataError(f"{name}: array {array}: has a broken header ({error})") from error
    if dtype.hasobject or dtype.kind not in "fiub":
        raise DataError(f"{name}: array {array}: has dtype {dtype}; expected numbers")
    claimed = offset + header.nbytes
    if claimed != member.file_size or member.file_size > MAX_RATIO * member.compress_size + 1024:
        raise DataError(
            f"{name}: array {array}: its header claims shape {shape} of {dtype}, {header.nbytes} bytes, "
            f"but the file holds {member.file_size - offset} bytes for it ({member.compress_size} compressed)"
        )
    return header


def check(name: str, found: Mapping[str, Header], *, needs_y: bool) -> None:
    """Raises DataError where x and y do not have the shapes that a training needs."""
    if "x" not in found or (needs_y and "y" not in found):
        expected = "arrays x and y" if needs_y else "an array x"
        raise DataError(f"{name}: holds {', '.join(sorted(found)) or 'no arrays'}; expected {expected}")
    x = found["x"].shape
    if len(x) != 3 or 0 in x:
        raise DataError(
            f"{name}: array x: has shape {x}; expected (samples, timesteps, features), none of them 0"
        )
    if "y" in found and found["y"].shape[:1] != x[:1]:
        raise DataError(
            f"{name}: array y: has shape {found['y'].shape}; expected {x[0]} samples, as x has ({x})"
        )


def load(spec: Spec, name: str, *, needs_y: bool) -> Arrays:
    """Raises DataError, naming file and array."""
    path = Path(spec.data[name]["path"])
    found = headers(name, path)
    check(name, found, needs_y=needs_y)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in ("x", "y") if key in found}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    for key, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{name}: array {key}: holds NaN or infinite values; remove or replace them")
    return Arrays(arrays["x"].astype(np.float32, copy=False), arrays.get("y"))


def targets(y: np.ndarray, units: int, loss: str, name: str) -> Any:
    """What the loss compares with, an array.

    Integer labels, shape (n,), become one-hot rows, shape (n, units), where the loss needs them.
    """
    if y.ndim == 1 and units > 1 and loss in ("binary_crossentropy", "categorical_crossentropy"):
        labels: Any = y.astype(np.int64)
        if (labels != y).any() or labels.min() < 0 or labels.max() >= units:
            raise DataError(
                f"{name}: array y: holds labels {y.min()} to {y.max()}; expected integers "
                f"from 0 to {units - 1}, as the last layer has {units} units"
            )
        return np.eye(units, dtype=np.float32)[labels]
    return y.reshape(-1, 1) if y.ndim == 1 and units == 1 else y
