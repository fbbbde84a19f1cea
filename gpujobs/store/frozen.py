"""The store as it was at one moment, for a thread of its own."""

from __future__ import annotations

from pathlib import Path

from gpujobs.store.database import connect_frozen
from gpujobs.store.reader import Reader


class Frozen(Reader):
    """Raises StoreError."""

    def __init__(self, path: Path) -> None:
        super().__init__(connect_frozen(path))

    def close(self) -> None:
        self._connection.close()
