"""Reading a part of a file that an attempt has left. Blocks: not for the event loop."""

from __future__ import annotations

import os
from typing import BinaryIO

from gpujobs.paths import StatePaths
from gpujobs.protocol.instructions import Piece, ReadLog


def read_log(paths: StatePaths, asked: ReadLog) -> Piece:
    """Empty where there is none (yet)."""
    try:
        with paths.job(asked.job).attempt(asked.attempt).log.open("rb") as file:
            return piece_of(file, asked.offset, asked.limit)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return Piece.of(b"", 0)


def piece_of(file: BinaryIO, offset: int, limit: int) -> Piece:
    size = file.seek(0, os.SEEK_END)
    file.seek(offset)
    return Piece.of(file.read(limit), size)
