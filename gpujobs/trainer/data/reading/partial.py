"""Large arrays of npz files without reading all of them: for a look at some of their values."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a zip file's member: its signature, and the lengths of its name and of what follows it (APPNOTE.TXT, 4.3.7)."""


def read(path: Path, member: str, most: int) -> NDArray[np.floating[Any]]:
    """An array whose header has been checked: mapped where it is stored as it is; of a compressed one the first `most`
    bytes, and zeros, which take no memory, for the rest. Raises as zipfile does."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
            return _mapped(path, info)
        with archive.open(info) as file:
            return _beginning(file, most)


def is_compressed(path: Path, member: str) -> bool:
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(member).compress_type != zipfile.ZIP_STORED


def _mapped(path: Path, info: zipfile.ZipInfo) -> NDArray[np.floating[Any]]:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise zipfile.BadZipFile("a member is not where the directory says")
        file.seek(name + extra, 1)
        shape, order, dtype = _header(file)
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


def _beginning(file: IO[bytes], most: int) -> NDArray[np.floating[Any]]:
    shape, order, dtype = _header(file)
    values = np.zeros(int(np.prod(shape)), dtype)
    part = values[: most // dtype.itemsize]
    read = file.read(part.nbytes)
    part[: len(read) // dtype.itemsize] = np.frombuffer(read, dtype)
    return values.reshape(shape, order=order)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], Any, Any]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        reader = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = reader(file)
    return shape, "F" if is_fortran else "C", dtype
