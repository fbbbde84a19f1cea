"""Traced steps that a user's trainers leave on this machine for those that come after them (docs/decisions/0013)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Hashable
from functools import cache
from pathlib import Path

import gpujobs
from gpujobs.linux import durable

MOST = 32
"""Files that are kept of a user; one takes a tenth to half a megabyte."""

MAX_BYTES = 16 << 20

NAME_DIGITS = 64

CODE = (".py", ".json")


class Shelf:
    """Of the jobs whose graphs depend on `key` alone. Where `directory` is not there, nothing is kept."""

    def __init__(self, directory: Path, key: Hashable) -> None:
        self._directory, self._key = directory, key

    def get(self, what: Hashable) -> bytes | None:
        """What a trainer has put there; None where nothing is, or what is there cannot be that."""
        with contextlib.suppress(durable.DamagedError, OSError):
            path = self._path(what)
            if (content := durable.read(path, MAX_BYTES)) is not None:
                os.utime(path, follow_symlinks=False)  # what is used stays
                return _whole(content)
        return None

    def put(self, what: Hashable, content: bytes) -> None:
        """For those who come after: where it cannot be written, they trace it again."""
        path = self._path(what)
        with contextlib.suppress(OSError):
            if self._directory.is_dir() and not path.exists() and len(content) < MAX_BYTES:
                durable.write(path, hashlib.sha256(content).digest() + content, durable=False)
                self._make_room()

    def _path(self, what: Hashable) -> Path:
        named = repr((code(), self._key, what))
        return self._directory / hashlib.sha256(named.encode()).hexdigest()

    def _make_room(self) -> None:
        """The latest stay, and nothing else does."""
        found = list(self._directory.iterdir())
        kept = sorted((path for path in found if len(path.name) == NAME_DIGITS), key=_written)[-MOST:]
        for path in {*found} - {*kept}:
            path.unlink()


def _written(path: Path) -> float:
    return path.lstat().st_mtime


def _whole(content: bytes) -> bytes | None:
    """Without its hash: a power cut may have left a file that is not what was written."""
    size = hashlib.sha256().digest_size
    return content[size:] if hashlib.sha256(content[size:]).digest() == content[:size] else None


@cache
def code() -> str:
    """What our own code, and its Python, are: other code may trace otherwise."""
    return code_of(Path(gpujobs.__file__).parent)


def code_of(package: Path) -> str:
    """The whole of it: what a graph is made of is told by job files, and by more than the trainer."""
    found = hashlib.sha256(sys.version.encode())
    for path in sorted(path for path in package.rglob("*") if path.suffix in CODE):
        found.update(f"{path.relative_to(package)} {path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()
