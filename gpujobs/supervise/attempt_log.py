"""What a trainer writes, in the attempt's directory."""

from __future__ import annotations

import os
from pathlib import Path


class AttemptLog:
    """`error`: why it is not whole, in words."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._limit_bytes = path, limit_bytes
        self._left = limit_bytes
        self.error: str | None = None

    def open(self) -> int:
        """Whose descriptor is the caller's to close. Raises OSError."""
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self._descriptor

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def write(self, chunk: bytes) -> None:
        try:
            self._write(chunk)
        except OSError as error:
            self.error = error.strerror

    def _write(self, chunk: bytes) -> None:
        """Keeps the beginning of a log that is too long, and says so."""
        kept, self._left = chunk[: max(0, self._left)], self._left - len(chunk)
        if self._left < 0 and self.error is None:
            self.error = f"it was cut at {self._limit_bytes} bytes"
            kept += f"\n[this log is cut here, at {self._limit_bytes} bytes]\n".encode()
        while kept:
            kept = kept[os.write(self._descriptor, kept) :]
