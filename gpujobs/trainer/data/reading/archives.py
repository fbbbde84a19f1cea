"""Reads npz and npy files, without pickles; headers are checked before anything is allocated."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.errors import in_words
from gpujobs.trainer.data.memory import LOOK, available_bytes, gib
from gpujobs.trainer.data.reading import partial
from gpujobs.trainer.failures import DataError

MAX_RATIO = 1032
"""Deflate cannot compress better than this: a larger claim is a lie."""

MAX_ARRAYS = 1000
"""More are no data set of anybody's, and each costs a look."""

KINDS = "fiubUSM"
"""Floats, integers, bools, text and times. Objects would be pickles."""

NUMBERS = "fiub"

BROKEN = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
"""What reading an archive that is damaged, encrypted or made by a stranger may raise."""


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


def headers(name: str, path: Path) -> dict[str, Header]:
    """The arrays of an npz file by name. `name` is the path as the user wrote it, for messages."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(name, archive)
            return {array: _member_header(name, archive, member) for array, member in members.items()}
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    except BROKEN as error:
        raise _not_whole(name, error) from error


def _not_whole(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: is not a whole npz file ({error}); expected one that numpy.savez has written")


def _members(name: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    if len(members) > MAX_ARRAYS:
        raise DataError(f"{name}: holds {len(members)} arrays; expected at most {MAX_ARRAYS}")
    ((array, count),) = Counter(member.filename for member in members).most_common(1) or [("", 0)]
    if count > 1:
        raise DataError(
            f"{name}: holds {count} arrays named {array.removesuffix('.npy')}; expected one of each name"
        )
    return {member.filename.removesuffix(".npy"): member for member in members}


def _member_header(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    array = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        header, offset = _read_header(f"{name}: array {array}", file)
    claimed = offset + header.nbytes
    if claimed != member.file_size or member.file_size > MAX_RATIO * member.compress_size + 1024:
        raise DataError(
            f"{name}: array {array}: its header claims shape {header.shape} of {header.dtype}, "
            f"{header.nbytes} bytes; expected the {member.file_size - offset} bytes that the file has for it "
            f"({member.compress_size} compressed)"
        )
    return header


def _read_header(place: str, file: IO[bytes]) -> tuple[Header, int]:
    """The header and the offset where the values begin."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[version](file)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise DataError(
            f"{place}: has a broken header ({error}); expected one that numpy has written"
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"{place}: holds Python objects, which are never unpickled; expected numbers or text: "
            "convert it, for example with numpy.array(values, dtype=numpy.float32)"
        )
    if dtype.kind not in KINDS or dtype.itemsize == 0:
        raise DataError(f"{place}: has dtype {dtype}; expected numbers or text")
    return Header(shape, dtype), file.tell()


def npy_header(name: str, path: Path) -> Header:
    """Raises DataError where the file is not as long as its header says."""
    try:
        with path.open("rb") as file:
            header, offset = _read_header(name, file)
            held = file.seek(0, 2) - offset
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    if held != header.nbytes:
        raise DataError(
            f"{name}: its header claims shape {header.shape} of {header.dtype}, {header.nbytes} bytes; "
            f"expected the {held} bytes that the file has"
        )
    return header


def map_npy(name: str, path: Path) -> NDArray[Any]:
    """The array, memory-mapped and read-only: only what is used is read."""
    npy_header(name, path)
    try:
        return _decoded(name, np.lib.format.open_memmap(path, mode="r"))
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {in_words(error)}") from error
    except ValueError as error:
        raise DataError(f"{name}: cannot be read: {error}") from error


def read_npz(
    name: str, path: Path, wanted: Collection[str], whole: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Those of the wanted arrays that are there. Raises DataError where they take more memory than there is.

    `whole`: those of which a beginning, and zeros for the rest, would be nonsense, as it would of words.
    """
    found = {array: header for array, header in headers(name, path).items() if array in wanted}
    _require_room(name, found)
    most = LOOK.get()
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {
                array: partial.read(path, f"{array}.npy", most)
                if most is not None and header.nbytes > most and _may_be_partial(path, array, header, whole)
                else _decoded(f"{name}: array {array}", archive[array])
                for array, header in found.items()
            }
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error
    except BROKEN as error:
        raise _not_whole(name, error) from error


def _may_be_partial(path: Path, array: str, header: Header, whole: Collection[str]) -> bool:
    """One that is stored as it is has all of its values there, and is mapped."""
    return header.dtype.kind in NUMBERS and (
        array not in whole or not partial.is_compressed(path, f"{array}.npy")
    )


def _require_room(name: str, found: Mapping[str, Header]) -> None:
    size, room = sum(header.nbytes for header in found.values()), available_bytes()
    if size > room:
        raise DataError(
            f"{name}: {' and '.join(sorted(found))} unpack to {gib(size)}; expected at most the memory that is "
            f"free, {gib(room)}: save each array with numpy.save and name the .npy files in data.train.arrays, "
            "which are read where they lie"
        )


def _decoded(place: str, values: NDArray[Any]) -> NDArray[Any]:
    """Bytes as text."""
    if values.dtype.kind != "S":
        return values
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: holds bytes that are not UTF-8 text ({error})") from error


def check(name: str, found: Mapping[str, Header], *, needs_y: bool) -> None:
    """Raises DataError where arrays x and y do not have the shapes that a training needs."""
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
